"""Measures ViT-B-32 in f32 with PyTorch, ONNX Runtime and OpenVINO, as `cargo xtask bench engine` measures clipway.

    python benches/peers/engine.py [--threads 2] [--seconds 4] [--only torch,onnxruntime,openvino]

Needs torch, open_clip_torch, onnxruntime, openvino and onnx. The weights are random: nothing is downloaded.
Prints one JSON object per peer, in the same format as clipway's: samples per second, from the median call.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

BATCHES = (1, 8, 32)
CAPTION = 10
CONTEXT = 77


def texts(torch, batch, tokens):
    """Returns texts with this many tokens between start and end, padded with zeros."""
    ids = torch.zeros(batch, CONTEXT, dtype=torch.int64)
    for text in range(batch):
        for token in range(tokens):
            ids[text, token] = 320 + (text * 77 + token) * 97 % 40_000
    ids[:, 0] = 49406
    ids[:, tokens - 1] = 49407
    return ids


def per_second(call, batch, seconds):
    call()
    times = []
    start = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        call()
        times.append(time.perf_counter() - before)
    return batch / statistics.median(times), len(times)


def measure(name, version, threads, image, text, inputs, seconds):
    cases = []
    for kind, batch, value in inputs:
        run = image if kind == "image" else text
        speed, calls = per_second(lambda: run(value), batch, seconds)
        cases.append({"input": kind, "batch": batch, "per_second": speed, "calls": calls})
    print(json.dumps({"engine": name, "version": version, "model": "ViT-B-32", "threads": threads, "cases": cases}), flush=True)


def export(torch, model, folder, pixels, ids):
    """Writes the two towers as ONNX with a free batch dimension."""

    class Image(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, pixels):
            return self.model.encode_image(pixels)

    class Text(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, ids):
            return self.model.encode_text(ids)

    # PyTorch's fused attention has no ONNX form; the exported graph contains its parts.
    torch.backends.mha.set_fastpath_enabled(False)
    paths = {}
    for name, tower, example in (("image", Image(), pixels), ("text", Text(), ids)):
        paths[name] = str(Path(folder) / f"{name}.onnx")
        torch.onnx.export(
            tower.eval(), (example,), paths[name], input_names=["input"], output_names=["features"],
            dynamic_axes={"input": {0: "batch"}, "features": {0: "batch"}}, opset_version=17, dynamo=False,
        )
    torch.backends.mha.set_fastpath_enabled(True)
    return paths


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--only", default="torch,onnxruntime,openvino")
    arguments = parser.parse_args()
    threads, only = arguments.threads, arguments.only.split(",")
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import open_clip
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32", pretrained=None).eval()
    inputs = [("image", batch, torch.randn(batch, 3, 224, 224)) for batch in BATCHES]
    inputs += [("text", batch, texts(torch, batch, CONTEXT)) for batch in BATCHES]
    inputs += [("caption", batch, texts(torch, batch, CAPTION)) for batch in BATCHES]
    arrays = [(kind, batch, value.numpy()) for kind, batch, value in inputs]

    with torch.inference_mode():
        if "torch" in only:
            measure("PyTorch", torch.__version__, threads, model.encode_image, model.encode_text, inputs, arguments.seconds)
        with tempfile.TemporaryDirectory() as folder:
            paths = {}
            if {"onnxruntime", "openvino"} & set(only):
                paths = export(torch, model, folder, torch.randn(2, 3, 224, 224), texts(torch, 2, CONTEXT))
            if "onnxruntime" in only:
                import onnxruntime

                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = threads
                session = {
                    name: onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
                    for name, path in paths.items()
                }
                measure(
                    "ONNX Runtime", onnxruntime.__version__, threads,
                    lambda value: session["image"].run(None, {"input": value}),
                    lambda value: session["text"].run(None, {"input": value}),
                    arrays, arguments.seconds,
                )
                del session
            if "openvino" in only:
                import openvino

                core = openvino.Core()
                settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
                compiled = {name: core.compile_model(path, "CPU", settings) for name, path in paths.items()}
                measure(
                    "OpenVINO", openvino.__version__, threads,
                    lambda value: compiled["image"]([value]),
                    lambda value: compiled["text"]([value]),
                    arrays, arguments.seconds,
                )


if __name__ == "__main__":
    main()
