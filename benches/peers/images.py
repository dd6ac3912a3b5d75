"""Photographs for `cargo xtask bench images`, and the speed of open_clip's evaluation transform on them.

    python benches/peers/images.py make FOLDER --from PHOTOGRAPHS --size 640x427 [--count 1000] [--seed 0]
    python benches/peers/images.py measure FOLDER --threads 2 [--limit 1000]

`make` crops, mirrors and adjusts pieces of the photographs in a folder and saves them as JPEG (4:2:0, quality 75 to
95, one in ten progressive); the same arguments give the same files with the same Pillow. `measure` prints a JSON object
in the same format as clipway's. It times Pillow and torchvision in the transform that open_clip makes for ViT-B-32:
with one thread in a plain loop, with more by the faster of PyTorch's DataLoader, as open_clip runs it, and a thread
pool. Needs open_clip, torchvision and Pillow.
"""

import argparse
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BATCH = 32


def make(arguments):
    import random

    from PIL import Image, ImageEnhance, ImageOps

    width, height = (int(side) for side in arguments.size.split("x"))
    rng = random.Random(f"{arguments.seed} {arguments.size}")
    originals = []
    for path in sorted(Path(arguments.photographs).iterdir()):
        if path.suffix not in (".jpg", ".png", ".webp", ".bmp"):
            continue
        with Image.open(path) as image:
            if image.mode == "RGB" and min(image.size) >= 300:
                originals.append(image.convert("RGB"))
    if not originals:
        raise SystemExit(f"{arguments.photographs}: no color photograph of 300 pixels and more")
    folder = Path(arguments.folder)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(arguments.count):
        original = rng.choice(originals)
        share = rng.uniform(0.6, 1.0)
        fit = min(original.width / width, original.height / height) * share
        piece_width, piece_height = width * fit, height * fit
        left = rng.uniform(0, original.width - piece_width)
        top = rng.uniform(0, original.height - piece_height)
        box = (left, top, left + piece_width, top + piece_height)
        image = original.resize((width, height), Image.Resampling.BICUBIC, box)
        if rng.random() < 0.5:
            image = ImageOps.mirror(image)
        image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.8, 1.2))
        image = ImageEnhance.Sharpness(image).enhance(rng.uniform(1.0, 3.0))
        # Restore what enlarging took away: a grain of a few levels, like sensor noise.
        grain = Image.effect_noise((width, height), rng.uniform(4, 12))
        image = Image.blend(image, Image.merge("RGB", [grain] * 3), 0.15)
        image.save(
            folder / f"{number:04}.jpg", quality=rng.randint(75, 95), subsampling=2, progressive=rng.random() < 0.1
        )


class Files:
    """A map-style PyTorch data set: file to tensor."""

    def __init__(self, paths, transform):
        self.paths, self.transform = paths, transform

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, place):
        from PIL import Image

        with Image.open(self.paths[place]) as image:
            return self.transform(image)


def measure(arguments):
    os.environ["OMP_NUM_THREADS"] = "1"
    import open_clip
    import PIL
    import torch
    import torchvision
    from open_clip.transform import PreprocessCfg, image_transform_v2

    torch.set_num_threads(1)
    paths = sorted(Path(arguments.folder).glob("*.jpg"))[: arguments.limit]
    files = Files(paths, image_transform_v2(PreprocessCfg(size=224), is_train=False))
    batches = [range(start, min(start + BATCH, len(paths))) for start in range(0, len(paths), BATCH)]

    def plain():
        for batch in batches:
            torch.stack([files[place] for place in batch])

    def loader():
        for _ in torch.utils.data.DataLoader(files, batch_size=BATCH, num_workers=arguments.threads):
            pass

    def pool():
        with ThreadPoolExecutor(arguments.threads) as threads:
            for batch in batches:
                torch.stack(list(threads.map(files.__getitem__, batch)))

    runs = {"loop": plain} if arguments.threads == 1 else {"loader": loader, "pool": pool}
    for place in range(min(8, len(paths))):
        files[place]
    speeds = {}
    for name, run in runs.items():
        before = time.perf_counter()
        run()
        speeds[name] = len(paths) / (time.perf_counter() - before)
    print(
        json.dumps(
            {
                "engine": f"open_clip {open_clip.__version__}, torchvision {torchvision.__version__}, Pillow {PIL.__version__}",
                "threads": arguments.threads,
                "images": len(paths),
                "per_second": max(speeds.values()),
                "by": speeds,
            }
        )
    )


def main():
    parser = argparse.ArgumentParser()
    parts = parser.add_subparsers(required=True)
    part = parts.add_parser("make")
    part.add_argument("folder")
    part.add_argument("--from", dest="photographs", required=True)
    part.add_argument("--size", required=True)
    part.add_argument("--count", type=int, default=1000)
    part.add_argument("--seed", type=int, default=0)
    part.set_defaults(run=make)
    part = parts.add_parser("measure")
    part.add_argument("folder")
    part.add_argument("--threads", type=int, required=True)
    part.add_argument("--limit", type=int, default=1000)
    part.set_defaults(run=measure)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
