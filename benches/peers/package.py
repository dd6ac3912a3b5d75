"""Measures the Python package beside open_clip on PyTorch: file bytes to features of ViT-B-32, batches of 32, by turns.

    pip install WHEEL && python benches/peers/package.py [--threads 2] [--turns 3] [--batches 8]

Needs clipway, torch, open_clip_torch and Pillow. The weights are random: nothing is downloaded. Each turn is a process of its
own: seconds from its start to the first feature with the libraries imported, images per second by the median batch, and its
largest resident memory. PyTorch's images are decoded on as many threads as it computes with. clipway runs its folder of the same
weights in fp32, and in int8; the cosine is that of the first image's features to PyTorch's.
"""

import argparse
import io
import json
import math
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time


# clipway's folders, each with its target.
FOLDERS = {"fp32": "open_clip", "int8": "clipway"}


def batches_of(place, count):
    files = [path.read_bytes() for path in sorted(place.glob("*.jpg"))]
    return [files[32 * batch : 32 * (batch + 1)] for batch in range(count)]


def ours(folder, threads):
    import clipway

    model = clipway.Model.load(folder, threads=threads)
    return lambda files: model.encode_image(files, normalize=False)


def theirs(folder, threads):
    from concurrent.futures import ThreadPoolExecutor

    import open_clip
    import torch
    from PIL import Image

    torch.set_num_threads(threads)
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    model.eval()
    pool = ThreadPoolExecutor(threads)

    def encode(files):
        with torch.inference_mode():
            pixels = torch.stack(list(pool.map(lambda data: preprocess(Image.open(io.BytesIO(data))), files)))
            return model.encode_image(pixels).numpy()

    return encode


def largest_memory():
    """The largest resident memory of this process in MB. `ru_maxrss` also counts that of the process it was forked from."""
    try:
        status = pathlib.Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) / 1024


def turn(kind, folder, photos, threads, count):
    start = time.perf_counter()
    batches = batches_of(photos, count)
    read = time.perf_counter() - start
    encode = (theirs if kind == "torch" else ours)(folder, threads)
    first = encode(batches[0][:1])
    to_first = time.perf_counter() - start - read
    times = []
    for files in batches:
        before = time.perf_counter()
        encode(files)
        times.append(time.perf_counter() - before)
    memory = largest_memory()
    print(json.dumps({"first": to_first, "rate": 32 / statistics.median(times), "memory": memory, "features": first[0].tolist()}))


def make(place, count):
    """A folder of a model with random weights, and photographs of noise and gradients."""
    import numpy
    import open_clip
    import torch
    from PIL import Image

    torch.manual_seed(1)
    torch.save(open_clip.create_model("ViT-B-32").state_dict(), place / "model.pt")
    words = [sys.executable, "-m", "clipway", "export", place / "model.pt", "--model", "ViT-B-32", "--no-verify", "--quiet"]
    for precision, target in FOLDERS.items():
        out = ["--precision", precision, "--to", target, "--out", place / precision]
        subprocess.run([*words, *out], check=True, stdout=subprocess.DEVNULL)
    (place / "model.pt").unlink()
    photos = place / "photos"
    photos.mkdir()
    draw = numpy.random.default_rng(1)
    for number in range(32 * count):
        small = Image.fromarray(draw.integers(0, 256, (30, 40, 3), dtype="uint8"))
        small.resize((640, 480), Image.Resampling.BICUBIC).save(photos / f"{number:05}.jpg", quality=90)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--turn", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.turn:
        kind, folder, photos = arguments.turn
        return turn(kind, folder, pathlib.Path(photos), arguments.threads, arguments.batches)
    found = {kind: [] for kind in (*FOLDERS, "torch")}
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        make(place, arguments.batches)
        for _ in range(arguments.turns):
            for kind, results in found.items():
                model = place / ("fp32" if kind == "torch" else kind)
                words = [sys.executable, __file__, "--turn", kind, model, place / "photos"]
                words += ["--threads", str(arguments.threads), "--batches", str(arguments.batches)]
                done = subprocess.run(words, check=True, capture_output=True, text=True)
                results.append(json.loads(done.stdout.splitlines()[-1]))
                print(kind, {key: value for key, value in results[-1].items() if key != "features"}, flush=True)
    measured = ("rate", "memory", "first")
    medians = {kind: {key: statistics.median(one[key] for one in results) for key in measured} for kind, results in found.items()}
    theirs = medians["torch"]
    for kind in FOLDERS:
        ours = medians[kind]
        print(f"{kind}, cosine to PyTorch {cosine(found[kind][0]['features'], found['torch'][0]['features']):.6f}")
        print(f"  images per second: {ours['rate']:.1f} beside {theirs['rate']:.1f}, {ours['rate'] / theirs['rate']:.2f} times")
        print(f"  largest memory: {ours['memory']:.0f} MB beside {theirs['memory']:.0f}, {ours['memory'] / theirs['memory']:.2f}")
        print(f"  to the first feature: {ours['first']:.2f} s beside {theirs['first']:.2f}, {ours['first'] / theirs['first']:.2f}")


def cosine(a, b):
    length = math.sqrt(sum(x * x for x in a) * sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / length


if __name__ == "__main__":
    main()
