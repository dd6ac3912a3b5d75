"""Measures clipway's ONNX files beside torch.onnx's, in ONNX Runtime and OpenVINO, by turns in one run.

    python benches/peers/onnx_files.py CLIPWAY [--models ViT-B-32,RN50] [--towers visual,text] [--batches 1,8,32]
                                 [--threads 2] [--rounds 9] [--int8] [--exports]

Needs torch, open_clip_torch, onnx, onnxscript, onnxruntime and openvino. The weights are random: nothing is downloaded. Both
files give normalized features. torch.onnx writes one with its older exporter and one with its newer; a model that an exporter
refuses is named. Ratios are of medians of processor time, which other work on the machine disturbs least: above 1, clipway's
file is the faster. `--int8` adds clipway's int8 file beside its own fp32. `--exports` compares the time and memory of the
exports themselves, each in a process of its own.
"""

import argparse
import contextlib
import io
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCE = "model.pt"


def make_source(folder, name):
    import open_clip
    import torch

    # The older exporter does not know the fused attention of inference.
    torch.backends.mha.set_fastpath_enabled(False)
    torch.manual_seed(0)
    model = open_clip.create_model(name, pretrained=None).eval()
    torch.save(model.state_dict(), folder / SOURCE)
    return model


def clipway_arguments(folder, name, target, out, *more):
    return ["export", str(folder / SOURCE), "--model", name, "--to", target, "--out", str(out), "--no-verify", *more]


def wrapped(model, tower):
    """A tower of open_clip's as one module from inputs to normalized features."""
    import torch

    class Wrapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, inputs):
            encode = self.model.encode_image if tower == "visual" else self.model.encode_text
            return encode(inputs, normalize=True)

    return Wrapped().eval()


def inputs_of(model, tower, batch):
    import torch

    if tower == "visual":
        size = model.visual.image_size
        # open_clip's ResNet stores only one side of a square.
        height, width = size if isinstance(size, tuple) else (size, size)
        return torch.randn(batch, 3, height, width)
    length = getattr(model, "context_length", None) or model.text.context_length
    ids = torch.randint(320, 31_000, (batch, length))
    ids[:, 0], ids[:, -1] = 49_406, 49_407
    return ids


def torch_export(model, tower, path, dynamo):
    import torch

    shape = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)} if dynamo else {"dynamic_axes": {"x": {0: "batch"}, "y": {0: "batch"}}}
    with torch.inference_mode():
        torch.onnx.export(
            wrapped(model, tower), (inputs_of(model, tower, 2),), str(path), dynamo=dynamo, input_names=["x"], output_names=["y"], **shape
        )


def sessions(path, threads):
    """The file in both runtimes, each as a call from an array to features."""
    import onnxruntime
    import openvino

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Waiting in a loop would count as work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    runtime = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = runtime.get_inputs()[0].name
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    return {
        "ONNX Runtime": lambda array: runtime.run(None, {given: array})[0],
        "OpenVINO": lambda array: compiled([array])[0],
    }


def by_turns(calls, array, rounds):
    """Median of processor time of each call, which take turns in a drawn order; the first round does not count."""
    times = {name: [] for name in calls}
    order = random.Random(0)
    for turn in range(rounds + 1):
        # In one order each would always find what the same other one left in the caches.
        for name, call in order.sample(sorted(calls.items()), len(calls)):
            before = time.process_time()
            call(array)
            if turn > 0:
                times[name].append(time.process_time() - before)
    return {name: statistics.median(values) for name, values in times.items()}


def measure_speed(clipway, name, folder, arguments):
    import numpy

    model = make_source(folder, name)
    kinds = {"clipway": "fp32"} | ({"clipway int8": "int8"} if arguments.int8 else {})
    for kind, precision in kinds.items():
        command = [clipway, *clipway_arguments(folder, name, "onnx", folder / kind, "--precision", precision)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for tower in arguments.towers.split(","):
        files = {kind: folder / kind / f"{tower}.onnx" for kind in kinds}
        for exporter, dynamo in [("legacy", False), ("dynamo", True)]:
            path = folder / exporter / f"{tower}.onnx"
            path.parent.mkdir(exist_ok=True)
            try:
                # Exporters print what they do, and whole graphs if they fail.
                with contextlib.redirect_stdout(io.StringIO()):
                    torch_export(model, tower, path, dynamo)
                files[exporter] = path
            except Exception as error:
                print(f"{name} {tower}: torch.onnx ({exporter}) refuses: {str(error).splitlines()[0][:100]}")
        # What a process opens first runs some percent slower, whatever it is, so that one is kept aside.
        aside = sessions(files["clipway"], arguments.threads)
        opened = {kind: sessions(path, arguments.threads) for kind, path in files.items()}
        for batch in map(int, arguments.batches.split(",")):
            array = inputs_of(model, tower, batch).numpy()
            for runtime in ["ONNX Runtime", "OpenVINO"]:
                calls = {kind: of[runtime] for kind, of in opened.items()}
                reference = calls["clipway"](array)
                for kind, call in calls.items():
                    cosine = float(numpy.min(numpy.sum(reference * call(array), axis=1)))
                    assert cosine > (0.9 if "int8" in kind else 0.9999), f"{name} {tower} {kind}: cosine {cosine}"
                medians = by_turns(calls, array, arguments.rounds)
                ours = medians["clipway"]
                ratios = [f"{kind} {value / ours:.2f}" for kind, value in medians.items() if kind in ("legacy", "dynamo")]
                ratios += [f"int8 {ours / medians[kind]:.2f} times fp32" for kind in medians if kind == "clipway int8"]
                print(f"{name} {tower} batch {batch} {runtime}: {batch / ours:.1f} a second; {', '.join(ratios)}", flush=True)
        del aside


# Runs a command from a small process: the largest memory that the system reports of a child counts its parent's too.
SPENT = """
import json, resource, subprocess, sys, time
before = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([time.perf_counter() - before, usage.ru_maxrss / 1000, usage.ru_utime + usage.ru_stime]))
"""


def spent(command):
    """Seconds, MB at most and processor seconds of a process."""
    done = subprocess.run([sys.executable, "-c", SPENT, *command], check=True, capture_output=True, text=True)
    return tuple(json.loads(done.stdout))


def measure_exports(clipway, name, folder, rounds):
    make_source(folder, name)
    me = [sys.executable, __file__, clipway, "--models", name, "--as-peer", str(folder)]
    commands = {
        "clipway to onnx": [clipway, *clipway_arguments(folder, name, "onnx", folder / "o", "--force")],
        "clipway to safetensors": [clipway, *clipway_arguments(folder, name, "open_clip", folder / "s", "--force")],
        "torch.onnx legacy": [*me, "legacy"],
        "torch.onnx dynamo": [*me, "dynamo"],
    }
    found = {kind: [] for kind in commands}
    for _ in range(rounds):
        for kind, command in commands.items():
            found[kind].append(spent(command))
    for kind, runs in found.items():
        seconds, memory, processor = (statistics.median(values) for values in zip(*runs))
        print(f"{name}: {kind}: {seconds:.2f} s, {processor:.2f} s of processor time, {memory:.0f} MB", flush=True)


def export_as_peer(name, folder, exporter):
    """Loads the source and exports both towers, as a user of torch.onnx does."""
    import open_clip
    import torch

    torch.backends.mha.set_fastpath_enabled(False)
    model = open_clip.create_model(name, pretrained=None).eval()
    model.load_state_dict(torch.load(folder / SOURCE, weights_only=True))
    for tower in ["visual", "text"]:
        torch_export(model, tower, folder / f"{exporter}-{tower}.onnx", exporter == "dynamo")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("clipway")
    parser.add_argument("--models", default="ViT-B-32")
    parser.add_argument("--towers", default="visual,text")
    parser.add_argument("--batches", default="1,8,32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("--exports", action="store_true")
    parser.add_argument("--as-peer", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if arguments.as_peer:
        folder, exporter = arguments.as_peer
        return export_as_peer(arguments.models, Path(folder), exporter)
    for name in arguments.models.split(","):
        with tempfile.TemporaryDirectory() as folder:
            if arguments.exports:
                measure_exports(arguments.clipway, name, Path(folder), min(arguments.rounds, 3))
            else:
                measure_speed(arguments.clipway, name, Path(folder), arguments)


if __name__ == "__main__":
    main()
