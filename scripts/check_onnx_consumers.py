#!/usr/bin/env python3
"""Loads folders that `clipway export --to onnx,onnx-immich,onnx-transformers` writes as the programs they are for do.

    scripts/check_onnx_consumers.py CLIPWAY [NODE_FOLDER] [--open-clip-inference PROGRAM]

The demo model in `examples/emoji-clip` is exported, and each program gives features of its 12 images and of 200 texts;
they are compared with open_clip's, which lie beside the model. Prints one line a program: what ran, and the smallest
cosine of a feature; exit 1 if one is below the bound. A program that is not installed is skipped, with a line that says
so. `optimum` and `fastembed` are the packages themselves. open_clip_inference is a Rust crate and immich a service:
what they do with a folder is done here by the rules of their source (crate 0.5.0; `immich_ml/models/clip`), in ONNX
Runtime. PROGRAM is the crate itself, by `cargo build --release --manifest-path scripts/open_clip_inference/Cargo.toml`;
`check_immich.py` runs immich's service. transformers.js runs in Node from NODE_FOLDER, where `npm install
@huggingface/transformers` was run.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NEEDED = ["numpy", "onnxruntime", "PIL", "safetensors", "tokenizers"]
missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
if missing:
    print(f"skipped: no {', '.join(missing)} here")
    sys.exit(0)

import numpy as np
import onnxruntime
from PIL import Image
from safetensors.numpy import load_file
from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
DEMO = HERE.parent / "examples/emoji-clip"
# Features where the pixels are open_clip's own, and where a program resizes by a rule of its own: transformers by
# torchvision's, transformers.js by one without the filter against aliasing.
EXACT, OTHER_PIXELS, JAVASCRIPT = 0.999999, 0.999, 0.98
RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def cosine(found, expected):
    """The smallest cosine of a row with its own row."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if found.shape != expected.shape:
        raise ValueError(f"expected {expected.shape}, found {found.shape}")
    lengths = np.linalg.norm(found, axis=-1) * np.linalg.norm(expected, axis=-1)
    return float(((found * expected).sum(-1) / lengths).min())


def is_unit(found):
    return bool(np.abs(np.linalg.norm(found, axis=-1) - 1).max() < 1e-4)


def pixels(image, side, mean, std, interpolation="bicubic"):
    """The shorter side resized, the middle cropped: `[3, side, side]`."""
    image = image.convert("RGB")
    width, height = image.size
    scale = side / min(width, height)
    image = image.resize((round(width * scale), round(height * scale)), RESAMPLING[interpolation])
    left, top = (image.width - side) // 2, (image.height - side) // 2
    array = np.asarray(image.crop((left, top, left + side, top + side)), np.float32) / 255
    return ((array - np.float32(mean)) / np.float32(std)).transpose(2, 0, 1)


def open_clip_inference(folder, images, texts):
    """Crate 0.5.0: nine files, inputs by name, the first output, which it takes as normalized."""
    names = ["model_config.json", "open_clip_config.json", "special_tokens_map.json", "text.onnx", "tokenizer.json",
             "tokenizer_config.json", "visual.onnx", "text.onnx.data", "visual.onnx.data"]
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:
        raise ValueError(f"no {', '.join(absent)}")
    config = json.loads((folder / "open_clip_config.json").read_text())
    model = json.loads((folder / "model_config.json").read_text())
    preprocess, context = config["preprocess_cfg"], config["model_cfg"]["text_cfg"]["context_length"]
    side = config["model_cfg"]["vision_cfg"]["image_size"]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding(length=context, pad_id=model["pad_id"])
    tokenizer.enable_truncation(context)
    if model["tokenizer_needs_lowercase"]:
        texts = [text.lower() for text in texts]
    batch = np.stack([pixels(image, side, preprocess["mean"], preprocess["std"], preprocess["interpolation"])
                      for image in images])
    ids = np.array([encoding.ids for encoding in tokenizer.encode_batch(texts)], np.int64)
    visual, text = session(folder / "visual.onnx"), session(folder / "text.onnx")
    assert "attention_mask" not in [entry.name for entry in text.get_inputs()]
    found = visual.run(None, {"pixel_values": batch})[0], text.run(None, {"input_ids": ids})[0]
    if not is_unit(found[0]) or not is_unit(found[1]):
        raise ValueError("features are not normalized")
    return found


def open_clip_inference_itself(program, folder, names, texts):
    """The crate, with its own decoding and resizing, in the ONNX Runtime of this Python."""
    library = next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.*"))
    given = {"images": [str(DEMO / "pictures" / name) for name in names], "texts": texts}
    environment = os.environ | {"ORT_DYLIB_PATH": str(library)}
    run = subprocess.run([program, folder], input=json.dumps(given), capture_output=True, text=True, env=environment)
    if run.returncode != 0:
        raise ValueError(run.stderr.strip()[-600:])
    found = json.loads(run.stdout)
    return found["images"], found["texts"]


def immich(folder, images, texts):
    """`OpenClipVisualEncoder` and `OpenClipTextualEncoder`: one sample a run, `[0][0]` of all outputs, ids in int32."""
    preprocess = json.loads((folder / "visual/preprocess_cfg.json").read_text())
    context = json.loads((folder / "config.json").read_text())["text_cfg"]["context_length"]
    tokens = json.loads((folder / "textual/tokenizer_config.json").read_text())
    size = preprocess["size"]
    side = size[0] if isinstance(size, list) else size
    if preprocess["resize_mode"] not in ("shortest", "squash"):
        raise ValueError(preprocess["resize_mode"])
    tokenizer = Tokenizer.from_file(str(folder / "textual/tokenizer.json"))
    pad = tokenizer.token_to_id(tokens["pad_token"])
    tokenizer.enable_padding(length=context, pad_token=tokens["pad_token"], pad_id=pad)
    tokenizer.enable_truncation(max_length=context)
    visual, textual = session(folder / "visual/model.onnx"), session(folder / "textual/model.onnx")
    found = [], []
    for image in images:
        made = pixels(image, side, preprocess["mean"], preprocess["std"], preprocess["interpolation"])
        found[0].append(visual.run(None, {"image": made[None]})[0][0])
    for text in texts:
        ids = np.array([tokenizer.encode(text).ids], dtype=np.int32)
        found[1].append(textual.run(None, {"text": ids})[0][0])
    if not is_unit(np.stack(found[0])) or not is_unit(np.stack(found[1])):
        raise ValueError("features are not normalized")
    return found


def fastembed(folder, images, texts):
    """`ImageEmbedding` and `TextEmbedding` with `specific_model_path`; a folder holds one tower as `model.onnx`."""
    from fastembed import ImageEmbedding, TextEmbedding
    found = []
    with tempfile.TemporaryDirectory() as place:
        for tower in ["vision", "text"]:
            own = Path(place) / tower
            shutil.copytree(folder, own, ignore=shutil.ignore_patterns("onnx"))
            shutil.copy(folder / f"onnx/{tower}_model.onnx", own / "model.onnx")
        vision = ImageEmbedding("Qdrant/clip-ViT-B-32-vision", specific_model_path=f"{place}/vision")
        found.append(np.stack(list(vision.embed(images))))
        text = TextEmbedding("Qdrant/clip-ViT-B-32-text", specific_model_path=f"{place}/text")
        found.append(np.stack(list(text.embed(texts))))
    return found


def optimum(folder, images, texts):
    """`ORTModelForZeroShotImageClassification` on `onnx/model.onnx`, with transformers' processor of the folder."""
    import torch
    from optimum.onnxruntime import ORTModelForZeroShotImageClassification
    from transformers import AutoTokenizer, CLIPImageProcessor
    model = ORTModelForZeroShotImageClassification.from_pretrained(folder, subfolder="onnx", file_name="model.onnx")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    given = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")
    values = CLIPImageProcessor.from_pretrained(folder)(images, return_tensors="pt")["pixel_values"]
    given = {name: torch.as_tensor(value) for name, value in given.items()}
    outputs = model(pixel_values=torch.as_tensor(np.asarray(values)), **given)
    return outputs["image_embeds"].numpy(), outputs["text_embeds"].numpy()


def transformers_js(node, folder, images, texts, names):
    """`CLIPVisionModelWithProjection` on open_clip's pixels and on its processor's, `CLIPTextModelWithProjection`, and
    the zero-shot pipeline, in Node."""
    processor = json.loads((folder / "preprocessor_config.json").read_text())
    side, mean, std = processor["crop_size"]["height"], processor["image_mean"], processor["image_std"]
    values = np.stack([pixels(image, side, mean, std) for image in images])
    given = {"folder": str(folder), "texts": texts, "images": [str(DEMO / "pictures" / name) for name in names],
             "pixels": values.ravel().tolist(), "shape": values.shape}
    script = HERE / "check_transformers_js.mjs"
    run = subprocess.run(["node", str(script), str(node)], input=json.dumps(given), capture_output=True, text=True)
    if run.returncode != 0:
        raise ValueError(run.stderr.strip()[-600:])
    return json.loads(run.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clipway")
    parser.add_argument("node", nargs="?", type=lambda path: Path(path).resolve())
    parser.add_argument("--open-clip-inference", type=Path, metavar="PROGRAM")
    arguments = parser.parse_args()
    clipway, node = arguments.clipway, arguments.node
    expected = json.loads((DEMO / "expected.json").read_text())
    stored = load_file(DEMO / "expected.safetensors")
    names = [entry["file"] for entry in expected["pictures"]]
    labels = (DEMO / "labels.txt").read_text().split("\n")
    labels = [label for label in labels if label]
    template = expected["templates"][0]
    texts = [template.format(label) for label in labels]
    wanted = stored["image_features"], stored["text_features"][0]
    images = [Image.open(DEMO / "pictures" / name) for name in names]
    passed = True

    def report(name, bound, run):
        nonlocal passed
        try:
            found = run()
            cosines = [cosine(one, other) for one, other in zip(found, wanted)]
            good = cosines[0] >= bound and cosines[1] >= EXACT
            said = f"smallest cosine of an image {cosines[0]:.7f} (at least {bound}), of a text {cosines[1]:.7f}"
        except Exception as error:
            good, said = False, f"{type(error).__name__}: {error}"
        passed &= good
        print(f"{'ok  ' if good else 'FAIL'} {name}: {said}", flush=True)

    def installed(package):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            print(f"skipped {package}: it is not installed", flush=True)
            return None

    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "out"
        command = [clipway, "export", DEMO / "emoji-clip.pt", "--model", DEMO / "emoji-clip.json", "--out", out, "--quiet",
                   "--to", "onnx,onnx-immich,onnx-transformers", "--combined"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        runtime = f"in ONNX Runtime {onnxruntime.__version__}"
        report(f"open_clip_inference's rules {runtime}", EXACT, lambda: open_clip_inference(out / "onnx", images, texts))
        if program := arguments.open_clip_inference:
            report(f"open_clip_inference 0.5.0 itself {runtime}", OTHER_PIXELS,
                   lambda: open_clip_inference_itself(program.resolve(), out / "onnx", names, texts))
        else:
            print("skipped open_clip_inference itself: no program was given")
        report(f"immich's rules {runtime}", EXACT, lambda: immich(out / "onnx-immich", images, texts))
        folder = out / "onnx-transformers"
        if version := installed("fastembed"):
            report(f"fastembed {version}", OTHER_PIXELS, lambda: fastembed(folder, images, texts))
        if version := installed("optimum-onnx"):
            report(f"optimum-onnx {version}", OTHER_PIXELS, lambda: optimum(folder, images, texts))
        if node is None or shutil.which("node") is None:
            print("skipped transformers.js: no Node, or no folder of its packages was given")
        else:
            found = {}

            def towers():
                found.update(transformers_js(node, folder, images, texts, names))
                return found["exact"], found["texts"]

            report("transformers.js, two towers on open_clip's pixels", EXACT, towers)
            report("transformers.js, with its processor", JAVASCRIPT, lambda: (found["images"], found["texts"]))
            best = found.get("best", [])
            same = sum(one == entry["top1"] for one, entry in zip(best, expected["pictures"]))
            good = len(best) == len(names) and same == len(names)
            passed &= good
            print(f"{'ok  ' if good else 'FAIL'} transformers.js {found.get('version')}, zero-shot pipeline: {same} of "
                  f"{len(names)} images have open_clip's best label")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
