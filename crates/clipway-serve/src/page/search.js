// Search: texts, an image or a result, and what is added to and taken from them.
const STEP = 24, MOST_RESULTS = 1000;
let chosen = null, limit = STEP, searching = null, searchTimer = 0, shownResults = [];

function startSearch({ rows }) {
  if (!$("tabs").hidden) return;
  $("tabs").hidden = false;
  say("search-message", `${rows} images. Write a text, or choose an image.`);
  select("search");
  restore();
}

// The search is in the address of the page, so that it can be kept, sent and gone back to.
const FIELDS = ["query", "plus", "minus", "path", "after", "before", "orientation", "score"];
const FILTERS = FIELDS.slice(3);

function keep() {
  const kept = new URLSearchParams(FIELDS.filter((id) => $(id).value).map((id) => [id, $(id).value]));
  if (Number.isInteger(chosen?.term.like)) kept.set("like", chosen.term.like);
  history.replaceState(null, "", kept.size ? `#${kept}` : location.pathname);
}

function restore() {
  const kept = new URLSearchParams(location.hash.slice(1)), row = kept.get("like");
  for (const id of FIELDS) $(id).value = kept.get(id) ?? "";
  $("filters").open = FILTERS.some((id) => $(id).value);
  if (row !== null && /^\d+$/.test(row)) choose({ name: `like row ${row}`, term: { like: Number(row) } });
  else if (kept.size) searchLater(0);
}

function select(name) {
  for (const tab of ["search", "classify"]) {
    $(tab).hidden = tab !== name;
    $(`tab-${tab}`).setAttribute("aria-selected", String(tab === name));
    $(`tab-${tab}`).tabIndex = tab === name ? 0 : -1;
  }
  if (name === "search") $("query").focus();
}

function searchFile(file) {
  if (!file?.type.startsWith("image/")) return;
  asData(file).then((image) => choose({ name: file.name || "pasted image", term: { image }, shown: URL.createObjectURL(file) }));
}

function choose(term) {
  if (chosen?.shown) URL.revokeObjectURL(chosen.shown);
  chosen = term;
  if (term) $("query").value = "";
  $("chosen").hidden = !term;
  $("chosen-name").textContent = term?.name ?? "";
  if (term?.shown) $("chosen-image").src = term.shown;
  else if (term) showThumb($("chosen-image"), term.term.like);
  searchLater(0);
}

function searchLater(delay = DELAY) {
  clearTimeout(searchTimer);
  limit = STEP;
  searchTimer = setTimeout(search, delay);
}

// Terms between commas, with a weight before them as in the command: "2:cartoon, text".
const terms = (id) => $(id).value.split(",").map((text) => text.trim()).filter(Boolean).map((text) => {
  const weighted = /^(\d+(?:\.\d+)?):(.+)$/.exec(text);
  return weighted ? { text: weighted[2].trim(), weight: Number(weighted[1]) } : { text };
});

function asked() {
  const text = $("query").value.trim(), filter = {};
  if ($("path").value.trim()) filter.path = $("path").value.trim();
  for (const id of ["after", "before", "orientation"]) if ($(id).value) filter[id] = $(id).value;
  const body = { ...(chosen ? chosen.term : text ? { text } : {}), plus: terms("plus"), minus: terms("minus"), filter, limit };
  if ($("score").value) body.min_score = Number($("score").value);
  return chosen || text || body.plus.length || body.minus.length ? body : null;
}

async function search() {
  searching?.abort();
  say("search-copied", "");
  keep();
  const body = asked();
  if (!body) {
    showFound([]);
    return say("search-message", "Write a text, or choose an image.");
  }
  searching = new AbortController();
  try {
    const request = { method: "POST", body: JSON.stringify(body), signal: searching.signal, headers: { ...headers(), "content-type": "application/json" } };
    const started = performance.now();
    const response = await fetch("/v1/search", request);
    const answer = await response.json();
    if (!response.ok) {
      if (response.status === 401) connect();
      $("found").classList.add("old");
      return say("search-message", plain(answer.error.message), true);
    }
    showFound(answer.results);
    const count = answer.results.length;
    say("search-message", `${count || "No"} ${count === 1 ? "image" : "images"} of ${answer.rows}, ${Math.round(performance.now() - started)} ms.`);
    $("more").hidden = count < limit || limit >= MOST_RESULTS;
  } catch (error) {
    if (error.name !== "AbortError") say("search-message", "The server does not answer.", true);
  }
}

// Places in a request are those of the page's fields.
const PLACES = { path: "Path", after: "From", before: "Before", orientation: "Shape", min_score: "Least score", plus: "More of", minus: "Less of" };
const plain = (message) => message.replace(/`\$\.(?:filter\.)?(\w+)[^`]*`/, (place, name) => PLACES[name] ?? place);

// Browsers send no key with an image of their own accord.
async function showThumb(image, row, side = 256) {
  const address = `/thumb/${row}?w=${side}`;
  image.onerror = () => image.closest(".frame")?.classList.add("gone");
  if (!key) return (image.src = address);
  const response = await fetch(address, { headers: headers() });
  if (!response.ok) return image.onerror();
  image.onload = () => URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(await response.blob());
}

function showFound(results) {
  shownResults = results;
  $("found").classList.remove("old");
  $("more").hidden = true;
  const best = Math.max(1e-6, ...results.map(({ score }) => score));
  $("found").replaceChildren(...results.map((result, index) => found(result, index, best)));
}

const fileName = (path) => path.split(/[\\/]/).pop();

function found(result, index, best) {
  const name = fileName(result.path);
  const image = element("img", { alt: name, loading: "lazy", decoding: "async", width: 256, height: 256 });
  showThumb(image, result.row);
  const fill = element("div", { className: "fill" });
  fill.style.width = `${Math.max(0, 100 * result.score / best).toFixed(1)}%`;
  const numbers = element("p", { className: "numbers", textContent: `score ${result.score.toFixed(2)}`, title: `cosine ${result.cosine.toFixed(4)}` });
  const like = element("button", { type: "button", textContent: "Like this", onclick: () => likeThis(index) });
  const path = element("button", { type: "button", textContent: "Copy path", onclick: () => copy(result.path, "search-copied") });
  like.setAttribute("aria-label", `Like ${name}`);
  path.setAttribute("aria-label", `Copy path of ${name}`);
  const item = element("li", { tabIndex: index ? -1 : 0 },
    element("div", { className: "frame", onclick: () => view(index) }, image),
    element("p", { className: "path", textContent: name, title: result.path }),
    element("div", { className: "track" }, fill), numbers, element("div", { className: "copy" }, like, path));
  item.setAttribute("aria-label", `${result.rank}: ${name}, score ${result.score.toFixed(2)}`);
  return item;
}

// The result that is shown large.
let viewed = 0;

function view(index) {
  const { row, path, score, cosine, width, height, date } = shownResults[index];
  viewed = index;
  $("view-image").alt = fileName(path);
  showThumb($("view-image"), row, 512);
  $("view-name").textContent = path;
  const size = width ? `${width} × ${height} pixels` : "";
  const facts = [`score ${score.toFixed(2)}`, `cosine ${cosine.toFixed(4)}`, size, date?.replace("T", " ")];
  $("view-facts").textContent = facts.filter(Boolean).join(" · ");
  if (!$("view").open) $("view").showModal();
}

$("view").onkeydown = (event) => {
  const next = viewed + ({ ArrowLeft: -1, ArrowRight: 1 }[event.key] ?? 0);
  if (next !== viewed && shownResults[next]) view(next);
};
$("view").onclose = () => { viewed in $("found").children && focusOn($("found").children[viewed]); };
$("view").onclick = ({ target }) => { if (target === $("view")) $("view").close(); };
$("view-close").onclick = () => $("view").close();
$("view-like").onclick = () => { $("view").close(); likeThis(viewed); };
$("view-path").onclick = () => { $("view").close(); copy(shownResults[viewed].path, "search-copied"); };

// One result takes part in the order of the keyboard.
function focusOn(item) {
  for (const other of $("found").children) other.tabIndex = other === item ? 0 : -1;
  item.focus();
}

function likeThis(index) {
  const { row, path } = shownResults[index];
  choose({ name: `like ${fileName(path)}`, term: { like: row } });
  $("query").focus();
}

// Arrows move between results, Enter searches for more like one, Space shows one large, c copies its path.
$("found").onkeydown = (event) => {
  const items = [...$("found").children], index = items.indexOf(event.target);
  if (index < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
  const columns = items.filter((item) => item.offsetTop === items[0].offsetTop).length;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  if (step !== undefined) {
    if (items[index + step]) focusOn(items[index + step]);
  } else if (event.key === "Enter") likeThis(index);
  else if (event.key === " ") view(index);
  else if (event.key === "c") copy(shownResults[index].path, "search-copied");
  else return;
  event.preventDefault();
};
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || $("search").hidden || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
  event.preventDefault();
  $("query").focus();
});
$("tabs").onkeydown = ({ key: pressed }) => {
  if (pressed !== "ArrowLeft" && pressed !== "ArrowRight") return;
  const other = $("search").hidden ? "search" : "classify";
  select(other);
  $(`tab-${other}`).focus();
};
for (const tab of ["search", "classify"]) $(`tab-${tab}`).onclick = () => select(tab);
$("query").oninput = () => { if (chosen && $("query").value) choose(null); else searchLater(); };
for (const id of FIELDS.slice(1)) $(id).oninput = () => searchLater();
$("search-form").onsubmit = (event) => { event.preventDefault(); searchLater(0); };
$("search-drop").onclick = () => $("search-file").click();
$("search-file").onchange = ({ target }) => { searchFile(target.files[0]); target.value = ""; };
$("unchoose").onclick = () => { choose(null); $("query").focus(); };
$("more").onclick = () => { limit = Math.min(MOST_RESULTS, limit + STEP); search(); };
