// The requests of immich's server to its machine learning service, made by Node's own `fetch` and `FormData`.
//
//     node scripts/check_serve_immich.mjs ADDRESS MODEL IMAGE… -- TEXT…
//
// Prints the answers as JSON.
import { readFile } from "node:fs/promises";

const [address, modelName, ...rest] = process.argv.slice(2);
const cut = rest.indexOf("--");
const [images, texts] = [rest.slice(0, cut), rest.slice(cut + 1)];

async function predict(task, fields) {
  const form = new FormData();
  form.append("entries", JSON.stringify(task));
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  return fetch(new URL("/predict", address), { method: "POST", body: form });
}

const answers = { ping: await (await fetch(new URL("/ping", address))).text(), images: [], texts: [] };
for (const path of images) {
  const image = new Blob([new Uint8Array(await readFile(path))]);
  const response = await predict({ clip: { visual: { modelName } } }, { image });
  answers.images.push((await response.json()).clip);
}
for (const text of texts) {
  const task = { clip: { textual: { modelName, options: { language: "en" } } } };
  answers.texts.push((await (await predict(task, { text })).json()).clip);
}
const faces = { "facial-recognition": { detection: { modelName: "buffalo_l" }, recognition: { modelName: "buffalo_l" } } };
const refused = await predict(faces, { image: new Blob([new Uint8Array(await readFile(images[0]))]) });
answers.faces = { status: refused.status, detail: (await refused.json()).detail };
console.log(JSON.stringify(answers));
