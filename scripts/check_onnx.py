#!/usr/bin/env python3
"""Compares what `clipway export --to onnx`, `onnx-immich` and `onnx-transformers` write with open_clip.

    scripts/check_onnx.py CLIPWAY [MODEL ...]
    scripts/check_onnx.py --goldens XTASK FOLDER [REGEX]

For each model (by default one of each family; `over-2-gib`, whose files have external data, only if it is named, as it takes 12 GB
of memory) weights by formula are written as open_clip writes them and exported in
every layout; each file passes `onnx.checker` and is run at batch 1, 2 and 7 by ONNX Runtime and, where it is installed,
by OpenVINO; if `OLD_ONNXRUNTIME` names a Python with an older ONNX Runtime, by that too. Prints one line a file and runtime: the largest difference from open_clip's features in f64 (of unit
length where the file normalizes), as a share of the largest value; exit 1 if one is above the bound.

`--goldens` does the same with the files that `xtask goldens onnx FOLDER --keep` writes, against the folder's goldens: the
bound is four times PyTorch's own error in f32 but at least 4e-6, or 2e-5 where no truth in f64 is stored. A golden that
gives no files is a failure, and so is an empty folder. OpenVINO is held to 2e-5, as its products round differently.

Needs torch, timm, open_clip 3.3.0, safetensors, onnx and onnxruntime, and no network; without them it says so and exits
0.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

NEEDED = ["torch", "open_clip", "safetensors", "onnx", "onnxruntime"]
missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
if missing:
    print(f"skipped: no {', '.join(missing)} here")
    sys.exit(0)

import numpy as np
import onnx
import onnxruntime
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import make_architecture_goldens as goldens

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
VISION = {"image_size": 64, "layers": 2, "width": 128, "patch_size": 16}
MODELS = {
    "vit": ({**VISION}, {}, {}),
    "vit-quickgelu": ({**VISION}, {}, {"quick_gelu": True}),
    "resnet": ({"image_size": 64, "layers": [1, 1, 1, 1], "width": 32, "patch_size": None}, {}, {}),
    "pooled": ({**VISION, "pool_type": "avg", "final_ln_after_pool": True}, {"pool_type": "last"}, {}),
    "siglip-like": ({**VISION, "attentional_pool": True, "attn_pooler_heads": 2},
                    {"no_causal_mask": True, "proj_bias": True, "pool_type": "last"}, {"init_logit_bias": -10}),
    "class-token-text": ({**VISION}, {"embed_cls": True, "pad_id": 0, "no_causal_mask": True}, {"custom_text": True}),
}
LARGE = {"over-2-gib": ({**VISION, "layers": 3, "width": 4096}, {}, {})}
BATCHES = [1, 2, 7]
TRUTHS = Path(__file__).resolve().parent.parent / "crates/clipway-testing/data/truths"
# As the goldens' bound where no truth is stored; f16 rounds weights and every step.
BOUNDS = {"fp32": 2e-5, "fp16": 2e-2}
LAYOUTS = {
    "onnx": ["visual.onnx", "text.onnx"],
    "onnx-immich": ["visual/model.onnx", "textual/model.onnx"],
    "onnx-transformers": ["onnx/vision_model{}.onnx", "onnx/text_model{}.onnx"],
}


# Runs a file in a Python of its own: arguments are the file, the inputs and where the output goes.
OTHER = """
import sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
numpy.save(sys.argv[3], session.run(None, dict(numpy.load(sys.argv[2])))[0])
"""


def old_runtime():
    """The older ONNX Runtime, with its version."""
    python = os.environ.get("OLD_ONNXRUNTIME")
    if not python:
        return None
    command = [python, "-c", "import onnxruntime; print(onnxruntime.__version__)"]
    return python, subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


OLD = old_runtime()


def run_elsewhere(python, path, feed):
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "given.npz", Path(folder) / "found.npy"
        np.savez(given, **feed)
        subprocess.run([python, "-c", OTHER, path, given, found], check=True)
        return np.load(found)


def runtimes(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    yield f"ONNX Runtime {onnxruntime.__version__}", lambda feed: session.run(None, feed)[0]
    if importlib.util.find_spec("openvino"):
        import openvino
        compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        yield "OpenVINO", lambda feed: compiled(feed)[0]
    if OLD:
        python, version = OLD
        yield f"ONNX Runtime {version}", lambda feed: run_elsewhere(python, path, feed)


def check(clipway, name, folder):
    vision, text, rest = (MODELS | LARGE)[name]
    config = {"embed_dim": 64, "vision_cfg": vision, "text_cfg": {**TEXT, **text}, **rest}
    model = goldens.build(config)
    source = folder / "source"
    source.mkdir()
    weights = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(weights, source / "open_clip_model.safetensors", metadata={"format": "pt"})
    described = {"model_cfg": config, "preprocess_cfg": {}}
    (source / "open_clip_config.json").write_text(json.dumps(described))
    context = config["text_cfg"]["context_length"]
    side = vision["image_size"]
    images = goldens.make_images(side, side, max(BATCHES)).float()
    ids = torch.randint(1, 400, (max(BATCHES), context), generator=torch.Generator().manual_seed(1))
    for row, end in enumerate(range(3, 3 + 10 * max(BATCHES), 10)):
        ids[row, min(end, context - 1)] = 49407
        ids[row, end + 1:] = 0
    with torch.no_grad():
        truth = [model.double().encode_image(images.double()), model.double().encode_text(ids)]
    passed = True
    for layout, files in LAYOUTS.items():
        for precision, bound in BOUNDS.items():
            out = folder / f"{layout}-{precision}"
            command = [clipway, "export", source, "--out", out, "--to", layout, "--precision", precision, "--quiet"]
            subprocess.run(command, check=True)
            suffix = "_fp16" if precision == "fp16" else ""
            for file, expected, given in zip(files, truth, [images.numpy(), ids.numpy()]):
                path = out / file.format(suffix)
                onnx.checker.check_model(str(path), full_check=True)
                loaded = onnx.load(str(path), load_external_data=False)
                entry = loaded.graph.input[0]
                normalized = {p.key: p.value for p in loaded.metadata_props}["clipway.normalized"] == "true"
                wanted = torch.nn.functional.normalize(expected, dim=-1) if normalized else expected
                wanted = wanted.numpy()
                is_int32 = entry.type.tensor_type.elem_type == onnx.TensorProto.INT32
                given = given.astype(np.int32) if is_int32 else given
                fixed = entry.type.tensor_type.shape.dim[0].dim_value
                for runtime, run in runtimes(path):
                    worst = 0.0
                    for batch in [fixed] if fixed else BATCHES:
                        found = run({entry.name: given[:batch]})
                        worst = max(worst, np.abs(found - wanted[:batch]).max() / np.abs(wanted[:batch]).max())
                    good = worst <= bound
                    passed &= bool(good)
                    word = "ok  " if good else "FAIL"
                    print(f"{word} {name} {layout} {precision} {path.name} {runtime}: {worst:.1e}", flush=True)
    return passed


def golden_bound(name, tensors, output):
    """The truth of an output, and the bound of the error against it."""
    single = tensors[output].double()
    truth = tensors.get(f"{output}_f64")
    stored = TRUTHS / f"{name}.safetensors"
    if truth is None and stored.is_file():
        truth = load_file(stored)[f"{output}_f64"]
    if truth is None:
        return single, 2e-5
    pytorch = ((single - truth).abs().max() / truth.abs().max()).item()
    return truth, max(4 * pytorch, 4e-6)


def check_golden(xtask, path, folder):
    name = path.stem
    command = [xtask, "goldens", "onnx", path.parent, "--only", f"^{re.escape(name)}$", "--keep", folder]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with safe_open(path, "pt") as file:
        size = json.loads(file.metadata()["image_size"])
    tensors = load_file(path)
    height, width = size if isinstance(size, list) else (size, size)
    rows = tensors["image_features"].shape[0]
    images = goldens.make_images(height, width, rows).float().numpy()
    passed = True
    for tower, output, given in [("image", "image_features", images), ("text", "text_features", tensors["tokens"].numpy())]:
        file = folder / f"{name}.{tower}.onnx"
        if not file.is_file():
            print(f"FAIL {name} {tower}: xtask wrote no file", flush=True)
            return False
        onnx.checker.check_model(str(file), full_check=True)
        truth, bound = golden_bound(name, tensors, output)
        for runtime, run in runtimes(file):
            limit = max(bound, 2e-5) if runtime == "OpenVINO" else bound
            found = np.concatenate([run({"input": given[:1]}), run({"input": given})])
            wanted = np.concatenate([truth[:1], truth])
            error = np.abs(found - wanted).max() / np.abs(wanted).max() if found.shape == wanted.shape else np.inf
            good = bool(error <= limit)
            passed &= good
            print(f"{'ok  ' if good else 'FAIL'} {name} {tower} {runtime}: {error:.1e} (at most {limit:.1e})", flush=True)
        file.unlink()
    return passed


def check_goldens(xtask, folder, pattern=""):
    paths = [path for path in sorted(Path(folder).glob("*.safetensors")) if re.search(pattern, path.stem)]
    results = []
    for path in paths:
        with tempfile.TemporaryDirectory() as place:
            results.append(check_golden(xtask, path, Path(place)))
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if results and all(results) else 1


def main():
    if sys.argv[1] == "--goldens":
        return check_goldens(*sys.argv[2:])
    clipway, *names = sys.argv[1:]
    results = []
    for name in names or MODELS:
        with tempfile.TemporaryDirectory() as folder:
            results.append(check(clipway, name, Path(folder)))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
