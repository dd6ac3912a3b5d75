"""Measures towers of many architectures by turns in one run, clipway, PyTorch, ONNX Runtime and OpenVINO, and prints a table.

    python benches/peers/towers.py [--models RN50,convnext_tiny,…] [--input image] [--batch 8] [--threads 2]
                                   [--seconds 4] [--rounds 3] [--peers torch,onnxruntime,openvino] [--program XTASK]
                                   [--compute f32]

Needs torch, open_clip_torch, timm, onnx, onnxruntime and openvino, and `cargo build --release -p xtask`. The weights are random:
nothing is downloaded. Each round measures clipway, in a process of its own, then the peers; the medians of the rounds are compared.
ONNX Runtime and OpenVINO run the file that torch.onnx writes. MobileCLIP models are reparameterized in PyTorch, as clipway does
when it compiles. The last column is the share of the rate of one large product in PyTorch, by the count of PyTorch's own operations;
what an engine saves (Winograd's products, text after the end token) counts as done.

`--compute int8` measures int8: clipway's beside the same file quantized by ONNX Runtime's own tools, dynamically, and statically (QDQ,
per channel, symmetric), which OpenVINO runs too. `--compute bf16` measures bf16 beside OpenVINO's. A column then has clipway's f32.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

MODELS = (
    "ViT-B-32,ViT-L-14,RN50,MobileCLIP2-S2,convnext_tiny,convnext_base,ViTamin-S,ViT-B-16-SigLIP,EVA02-B-16,"
    "PE-Core-S-16-384"
)


def clipway(name, arguments, compute):
    command = [
        arguments.program, "bench", "engine", "--model", name, "--inputs", arguments.input,
        "--batches", str(arguments.batch), "--threads", str(arguments.threads), "--seconds", str(arguments.seconds),
        "--compute", compute,
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["cases"][0]["per_second"]


def per_second(call, batch, seconds):
    call()
    times = []
    start = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        call()
        times.append(time.perf_counter() - before)
    return batch / statistics.median(times)


def tower_of(torch, open_clip, name, arguments):
    """A tower of open_clip's as a module, and a batch for it."""
    torch.manual_seed(0)
    model = open_clip.create_model(name, pretrained=None).eval()
    if name.startswith("MobileCLIP"):
        from timm.utils import reparameterize_model

        model.visual.trunk = reparameterize_model(model.visual.trunk)
    image = arguments.input == "image"

    class Tower(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, inputs):
            return self.model.encode_image(inputs) if image else self.model.encode_text(inputs)

    if image:
        size = model.visual.image_size
        # open_clip's ResNet stores only one side of a square.
        height, width = size if isinstance(size, tuple) else (size, size)
        return Tower().eval(), torch.randn(arguments.batch, 3, height, width)
    length = getattr(model, "context_length", None) or model.text.context_length
    ids = torch.randint(320, 31_000, (arguments.batch, length))
    ids[:, 0], ids[:, -1] = 49_406, 49_407
    return Tower().eval(), ids


def write_onnx(torch, tower, inputs, path):
    # PyTorch's fused attention has no ONNX form; the exported graph contains its parts.
    torch.backends.mha.set_fastpath_enabled(False)
    names = {"input_names": ["input"], "output_names": ["features"]}
    torch.onnx.export(tower, (inputs,), path, opset_version=17, dynamo=False, **names)
    torch.backends.mha.set_fastpath_enabled(True)


def quantized(path, inputs):
    """The file quantized by ONNX Runtime's tools: dynamically, and statically with the inputs as calibration."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            # The exported graph has the batch's own size.
            self.left = iter([{"input": inputs}])

        def get_next(self):
            return next(self.left, None)

    prepared, dynamic, static = (path.replace(".onnx", f".{kind}.onnx") for kind in ("prepared", "dynamic", "static"))
    quant_pre_process(path, prepared, skip_symbolic_shape=True)
    quantize_dynamic(prepared, dynamic, per_channel=True, weight_type=QuantType.QInt8)
    quantize_static(
        prepared, static, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, weight_type=QuantType.QInt8,
        activation_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm", "Conv"],
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True},
    )
    return {"dynamic": dynamic, "QDQ": static}


def in_onnxruntime(path, array, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"input": array})


def in_openvino(path, array, threads, hint):
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": hint}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    return lambda: compiled([array])


def calls_of(torch, tower, inputs, arguments):
    """Returns a call for each peer that encodes the batch."""
    calls = {}
    array, threads = inputs.numpy(), arguments.threads
    if "torch" in arguments.peers and arguments.compute == "f32":
        calls["PyTorch"] = lambda: tower(inputs)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "tower.onnx")
        if set(arguments.peers) & {"onnxruntime", "openvino"}:
            write_onnx(torch, tower, inputs, path)
        if arguments.compute == "int8":
            files = quantized(path, array)
            calls |= {f"ONNX Runtime {kind}": in_onnxruntime(file, array, threads) for kind, file in files.items()}
            calls["OpenVINO QDQ"] = in_openvino(files["QDQ"], array, threads, "f32")
            return calls
        if "onnxruntime" in arguments.peers and arguments.compute == "f32":
            calls["ONNX Runtime"] = in_onnxruntime(path, array, threads)
        if "openvino" in arguments.peers:
            calls["OpenVINO"] = in_openvino(path, array, threads, arguments.compute)
    return calls


def operations(torch, tower, inputs):
    """Counts the f32 operations of products and convolutions for one input."""
    from torch.utils.flop_counter import FlopCounterMode

    torch.backends.mha.set_fastpath_enabled(False)
    with FlopCounterMode(display=False) as counter:
        tower(inputs[:1])
    torch.backends.mha.set_fastpath_enabled(True)
    return counter.get_total_flops()


def product_rate(torch):
    """Operations per second of one large product."""
    x, weight = torch.randn(1600, 768), torch.randn(3072, 768)
    rate = per_second(lambda: torch.nn.functional.linear(x, weight), 1, 2)
    return rate * 2 * 1600 * 768 * 3072


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--input", default="image", choices=["image", "text"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", default="torch,onnxruntime,openvino", type=lambda text: text.split(","))
    parser.add_argument("--compute", default="f32", choices=["f32", "bf16", "int8"])
    parser.add_argument("--program", default="target/release/xtask")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    import open_clip
    import torch

    torch.set_num_threads(arguments.threads)
    with torch.inference_mode():
        rate = product_rate(torch)
        print(f"one product in PyTorch {torch.__version__}: {rate / 1e9:.0f} GFLOP/s\n")
        for index, name in enumerate(arguments.models.split(",")):
            tower, inputs = tower_of(torch, open_clip, name, arguments)
            count = operations(torch, tower, inputs)
            calls = calls_of(torch, tower, inputs, arguments)
            ours = {arguments.compute: [], "f32": []}
            theirs = {peer: [] for peer in calls}
            for _ in range(arguments.rounds):
                for compute, rates in ours.items():
                    rates.append(clipway(name, arguments, compute))
                for peer, call in calls.items():
                    theirs[peer].append(per_second(call, arguments.batch, arguments.seconds))
            mine, *plain = [statistics.median(rates) for rates in ours.values()]
            medians = [statistics.median(rates) for rates in theirs.values()]
            if index == 0:
                in_f32 = ["clipway in f32"] if plain else []
                heading = ["model", f"clipway, {arguments.input}s/s", *in_f32, *calls, "ours / fastest", "share of the product's rate"]
                print("| " + " | ".join(heading) + " |\n" + "| --- " * len(heading) + "|")
            rates = [f"{rate:.1f}" for rate in [mine, *plain, *medians]]
            cells = [name, *rates, f"{mine / max(medians):.2f}", f"{mine * count / rate:.2f}"]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
