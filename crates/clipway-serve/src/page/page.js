"use strict";
const $ = (id) => document.getElementById(id);
const MOST_IMAGES = 24, DELAY = 250, BARS_UP_TO = 3;
let images = [], key = "", timer = 0, running = null, answered = null;

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function say(id, text, isBad) {
  $(id).textContent = text;
  $(id).classList.toggle("bad", Boolean(isBad));
}

const headers = () => (key ? { authorization: `Bearer ${key}` } : {});
const labels = () => [...new Set($("labels").value.split("\n").map((line) => line.trim()).filter(Boolean))];
const template = () => $("template").value || "{}";

function named(model = "") {
  $("model").textContent = model;
  document.title = model ? `${model} · clipway` : "clipway";
}

async function connect() {
  try {
    const ready = await fetch("/readyz");
    if (ready.ok) named((await ready.json()).model.names[0]);
    const info = await fetch("/info", { headers: headers() });
    $("key-form").hidden = info.status !== 401;
    if (info.status === 401) return say("state", key ? "This key is not accepted." : "This server needs an API key.", true);
    const { dimensions, verified, index } = await info.json();
    if (index) startSearch(index);
    const model = `${dimensions} dimensions${verified === true ? ", verified" : ""}`;
    say("state", ready.ok ? `Ready · ${model}` : "The model is not ready.", !ready.ok);
    later();
  } catch {
    say("state", "The server does not answer.", true);
  }
}

function asData(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

async function add(files) {
  for (const file of files) {
    if (!file.type.startsWith("image/")) continue;
    if (images.length === MOST_IMAGES) {
      say("message", `At most ${MOST_IMAGES} images at a time.`, true);
      break;
    }
    images.push({ name: file.name || "pasted image", data: await asData(file), shown: URL.createObjectURL(file) });
  }
  showImages();
  later();
}

function remove(index) {
  URL.revokeObjectURL(images[index].shown);
  images.splice(index, 1);
  showImages();
  const buttons = $("images").querySelectorAll("button");
  (buttons[Math.min(index, buttons.length - 1)] || $("drop")).focus();
  later();
}

function showImages() {
  $("images").replaceChildren(...images.map(({ name, shown }, index) => {
    const button = element("button", { type: "button", textContent: "×", title: `Remove ${name}`, onclick: () => remove(index) });
    button.setAttribute("aria-label", `Remove ${name}`);
    return element("li", {}, element("img", { src: shown, alt: name }), button);
  }));
}

function later() {
  clearTimeout(timer);
  timer = setTimeout(classify, DELAY);
}

async function classify() {
  running?.abort();
  const chosen = [...images], words = labels();
  if (!chosen.length || !words.length) {
    answered = null;
    $("results").replaceChildren();
    $("copy").hidden = true;
    return say("message", chosen.length ? "Write at least one label." : "Choose an image to begin.");
  }
  running = new AbortController();
  const body = JSON.stringify({ images: chosen.map((image) => image.data), labels: words, template: template() });
  try {
    const request = { method: "POST", body, signal: running.signal, headers: { ...headers(), "content-type": "application/json" } };
    const started = performance.now();
    const response = await fetch("/v1/classify", request);
    const answer = await response.json();
    if (!response.ok) {
      if (response.status === 401) connect();
      const refused = (answer.errors || []).map(({ index, message }) => `${chosen[index]?.name ?? "a label"}: ${message}`);
      return say("message", refused.join("; ") || answer.error.message, true);
    }
    answered = { chosen, words };
    show(answer, chosen, Math.round(performance.now() - started));
  } catch (error) {
    if (error.name !== "AbortError") say("message", "The server does not answer.", true);
  }
}

const percent = (probability) => `${(100 * probability).toFixed(1)} %`;

function show(answer, chosen, milliseconds) {
  const rule = answer.probability_rule === "sigmoid" ? "each label by itself" : "over all labels";
  const best = answer.results.length === 1 ? `Best: ${answer.results[0].labels[0].label}. ` : "";
  say("message", `${best}Probabilities ${rule}, ${milliseconds} ms.`);
  const many = answer.results.length > BARS_UP_TO;
  $("results").replaceChildren(...(many ? [table(answer, chosen)] : answer.results.map((result) => bars(result, chosen))));
  $("copy").hidden = false;
  say("copied", "");
}

function bars(result, chosen) {
  const rows = result.labels.map(({ label, probability, cosine }, rank) => {
    const fill = element("div", { className: "fill" });
    fill.style.width = percent(probability).replace(" ", "");
    const value = element("span", { className: "value", textContent: percent(probability), title: `cosine ${cosine.toFixed(4)}` });
    const track = element("div", { className: "track" }, fill);
    return element("li", { className: rank ? "" : "best" }, element("span", { className: "name", textContent: label }), track, value);
  });
  return element("article", {}, element("h3", { textContent: chosen[result.index].name }), element("ol", { className: "bars" }, ...rows));
}

function table(answer, chosen) {
  const cells = (name, texts) => texts.map((textContent) => element(name, { textContent }));
  const row = (result) => {
    const [first, second] = result.labels;
    const other = second ? `${second.label} (${percent(second.probability)})` : "";
    return element("tr", {}, ...cells("td", [chosen[result.index].name, first.label, percent(first.probability), other]));
  };
  const head = element("thead", {}, element("tr", {}, ...cells("th", ["Image", "Best label", "Probability", "Next"])));
  const wide = element("div", { className: "wide", tabIndex: 0 });
  wide.append(element("table", {}, head, element("tbody", {}, ...answer.results.map(row))));
  return wide;
}

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

function command() {
  const { chosen, words } = answered;
  const list = words.some((word) => word.includes(","))
    ? ["--labels-file", "labels.txt"]
    : ["--labels", quoted(words.join(","))];
  const files = chosen.map((image) => quoted(image.name));
  return ["clipway", "classify", quoted($("model").textContent), ...files, ...list, "--template", quoted(template())].join(" ");
}

function curl() {
  const { chosen, words } = answered;
  const rest = JSON.stringify({ labels: words, template: template() }).slice(1);
  const format = (text) => text.replaceAll("\\", "\\\\").replaceAll("%", "%%");
  const type = chosen[0].data.slice(0, chosen[0].data.indexOf(",") + 1);
  const body = `printf ${quoted(`{"image":"${format(type)}%s",${format(rest)}`)} "$(base64 < ${quoted(chosen[0].name)} | tr -d '\\n')"`;
  const auth = key ? ` -H "authorization: Bearer $CLIPWAY_API_KEY"` : "";
  return `${body} | curl -s ${quoted(`${location.origin}/v1/classify`)} -H 'content-type: application/json'${auth} -d @-`;
}

async function copy(text, status = "copied") {
  try {
    await navigator.clipboard.writeText(text);
    say(status, "Copied.");
  } catch {
    const area = element("textarea", { value: text, className: "sr-only" });
    document.body.append(area);
    area.select();
    say(status, document.execCommand("copy") ? "Copied." : "The browser does not allow it.");
    area.remove();
  }
}

// What is dropped or pasted is for the tab that is shown.
const take = (files) => ($("search").hidden ? add(files) : searchFile(files[0]));

$("files").onchange = ({ target }) => { add([...target.files]); target.value = ""; };
$("drop").onclick = () => $("files").click();
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    for (const id of ["drop", "search-drop"]) $(id).classList.toggle("over", name === "dragover");
    if (name === "drop") take([...event.dataTransfer.files]);
  });
}
document.addEventListener("paste", ({ clipboardData }) => {
  const files = [...clipboardData.files].filter((file) => file.type.startsWith("image/"));
  if (files.length) take(files);
});
$("labels").oninput = later;
$("template").oninput = later;
$("copy-command").onclick = () => copy(command());
$("copy-curl").onclick = () => copy(curl());
$("key-form").onsubmit = (event) => { event.preventDefault(); key = $("key").value.trim(); connect(); };
connect();
