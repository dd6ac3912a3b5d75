// Runs a folder for transformers.js; called by check_onnx_consumers.py, with the folder of node_modules as its argument.
//
// Reads {folder, images, texts, pixels, shape} as JSON from standard input; prints {version, images, exact, texts, best}:
// features of the images, of the given pixels and of the texts, and each image's best label by the zero-shot pipeline.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { pathToFileURL } from 'node:url';

const node = process.argv[2];
const require = createRequire(`${node}/package.json`);
const entry = require.resolve('@huggingface/transformers');
const library = await import(pathToFileURL(entry.replace('.cjs', '.mjs')));
const { env, AutoProcessor, AutoTokenizer, CLIPTextModelWithProjection, CLIPVisionModelWithProjection, RawImage, Tensor } =
  library;
const { folder, images, texts, pixels, shape } = JSON.parse(readFileSync(0, 'utf8'));

env.allowRemoteModels = false;
env.localModelPath = dirname(folder);
const name = basename(folder);
const options = { dtype: 'fp32', device: 'cpu' };

const processor = await AutoProcessor.from_pretrained(name);
const vision = await CLIPVisionModelWithProjection.from_pretrained(name, options);
const read = await Promise.all(images.map((path) => RawImage.read(path)));
const { image_embeds } = await vision(await processor(read));
const given = new Tensor('float32', Float32Array.from(pixels), shape);
const exact = (await vision({ pixel_values: given })).image_embeds;

const tokenizer = await AutoTokenizer.from_pretrained(name);
const text = await CLIPTextModelWithProjection.from_pretrained(name, options);
const { text_embeds } = await text(tokenizer(texts, { padding: true, truncation: true }));

const classify = await library.pipeline('zero-shot-image-classification', name, options);
const best = [];
for (const image of images) {
  const [first] = await classify(image, texts, { hypothesis_template: '{}' });
  best.push(first.label);
}
const [made, ids] = [image_embeds, text_embeds].map((tensor) => tensor.tolist());
console.log(JSON.stringify({ version: env.version, images: made, exact: exact.tolist(), texts: ids, best }));
