"""Measures towers of many architectures, clipway and PyTorch by turns in one run, and prints a table with the ratios.

    python benches/peers/towers.py [--models RN50,convnext_base,…] [--input image] [--batch 8] [--threads 2]
                                   [--seconds 4] [--rounds 3]

Needs torch, open_clip_torch and timm, and `cargo build --release -p xtask`. The weights are random: nothing is
downloaded. Each round measures clipway (in a separate process), then PyTorch; the medians of the rounds are compared.
MobileCLIP models are reparameterized in PyTorch, as clipway does when it compiles.
"""

import argparse
import json
import os
import statistics
import subprocess
import time

MODELS = "RN50,convnext_base,MobileCLIP2-S2,ViT-B-16-SigLIP,EVA02-B-16,ViTamin-S"


def clipway(name, arguments):
    command = [
        "target/release/xtask", "bench", "engine", "--model", name, "--inputs", arguments.input,
        "--batches", str(arguments.batch), "--threads", str(arguments.threads), "--seconds", str(arguments.seconds),
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


def peer(torch, open_clip, name, arguments):
    """Returns a call that encodes a batch with PyTorch."""
    torch.manual_seed(0)
    model = open_clip.create_model(name, pretrained=None).eval()
    if name.startswith("MobileCLIP"):
        from timm.utils import reparameterize_model

        model.visual.trunk = reparameterize_model(model.visual.trunk)
    if arguments.input == "image":
        size = model.visual.image_size
        # open_clip's ResNet stores only one side of a square.
        height, width = size if isinstance(size, tuple) else (size, size)
        pixels = torch.randn(arguments.batch, 3, height, width)
        return lambda: model.encode_image(pixels)
    length = getattr(model, "context_length", None) or model.text.context_length
    ids = torch.randint(320, 31_000, (arguments.batch, length))
    return lambda: model.encode_text(ids)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--input", default="image", choices=["image", "text"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    import open_clip
    import torch

    torch.set_num_threads(arguments.threads)
    print(f"| model | clipway {arguments.input}/s | PyTorch {torch.__version__} | ratio |\n| --- | --- | --- | --- |")
    with torch.inference_mode():
        for name in arguments.models.split(","):
            call = peer(torch, open_clip, name, arguments)
            ours, theirs = [], []
            for _ in range(arguments.rounds):
                ours.append(clipway(name, arguments))
                theirs.append(per_second(call, arguments.batch, arguments.seconds))
            a, b = statistics.median(ours), statistics.median(theirs)
            print(f"| {name} | {a:.1f} | {b:.1f} | {a / b:.2f} |", flush=True)


if __name__ == "__main__":
    main()
