#!/usr/bin/env python3
"""Writes the small HEIC files in `crates/clipway-run/tests/data/heif`, each with a PNG of the pixels that Pillow reads from it.

    python scripts/make_heif_samples.py

Needs Pillow, pillow-heif and numpy.
"""

import io
from pathlib import Path

import heif_files as heif
import numpy as np
from compare_preprocess import draw
from PIL import Image

OUT = Path(__file__).parent.parent / "crates/clipway-run/tests/data/heif"


def encoded(rng, mode="RGB", size=(45, 38), **options):
    channels = len(mode.split(";")[0])
    values = draw(rng, *size, channels) * (65535 if mode.endswith(";16") else 255)
    data = values.round().astype("<u2" if mode.endswith(";16") else "u1").tobytes()
    return heif.encode(mode, size, data, **{"quality": 80, "chroma": 420, **options})


def with_changes(file, *changes):
    """A file whose image has these changes alone."""
    items, primary = heif.read(file)
    items[primary].properties = [*heif.without(items[primary], *heif.CHANGES), *changes]
    return heif.write(items, primary)


def with_alpha(file, other):
    """A file whose alpha is the image of another one."""
    items, primary = heif.read(file)
    added, of = heif.read(other)
    item = added[of]
    item.properties = [*item.properties, heif.full(b"auxC", 0, 0, heif.ALPHA)]
    item.references = [(b"auxl", [primary])]
    return heif.write({**items, 77: item}, primary)


def moved(file):
    """A grid whose layout lies in the file and whose tiles lie in `idat`, in three pieces each, with sizes of 32 bits."""
    items, primary = heif.read(file)
    for item in items.values():
        item.inside, item.extents = item.kind != b"grid", 3 if item.kind != b"grid" else 1
    width, height = np.frombuffer(items[primary].property(b"ispe")[12:], ">u4").tolist()
    columns, rows = items[primary].data[3] + 1, items[primary].data[2] + 1
    items[primary].data = heif.grid(columns, rows, width, height, wide=True)
    return heif.write(items, primary, brand=b"mif1")


def main():
    rng = np.random.default_rng(0)
    plain = encoded(rng)
    grid = encoded(rng, size=(150, 70), tile_size=64)
    samples = {
        "rgb": plain,
        "lossless": encoded(rng, chroma=444, quality=-1, matrix_coefficients=0),
        "half": encoded(rng, chroma=422),
        "full": encoded(rng, chroma=444, matrix_coefficients=1),
        "limited": encoded(rng, full_range_flag=0, matrix_coefficients=9),
        "unstated": encoded(rng, save_nclx_profile=False),
        "ten": encoded(rng, "RGB;16", bit_depth=10),
        "ten_half": encoded(rng, "RGB;16", bit_depth=10, chroma=422, full_range_flag=0),
        "twelve": encoded(rng, "RGB;16", bit_depth=12, chroma=444),
        "gray": encoded(rng, "L"),
        "gray_ten": encoded(rng, "L;16", bit_depth=10),
        "gray_alpha": encoded(rng, "LA"),
        "alpha": encoded(rng, "RGBA"),
        "alpha_small": with_alpha(encoded(rng, size=(46, 38)), encoded(rng, "L", size=(20, 30))),
        "turned": encoded(rng, exif=heif.turned_exif(), thumbnails=[32]),
        "mirrored": with_changes(encoded(rng, size=(46, 38)), heif.imir(0), heif.irot(3), heif.imir(1)),
        "cropped": with_changes(encoded(rng, size=(46, 38)), heif.clap(31, 20, -3, 5, (2, 1)), heif.irot(1)),
        "cropped_half": with_changes(encoded(rng, size=(46, 38), chroma=422), heif.clap(31, 20, 1, 0), heif.irot(2)),
        "grid": grid,
        "grid_moved": moved(grid),
        "refused/slices": encoded(rng, size=(64, 48), enc_params={"x265:ctu": "16", "x265:slices": "2", "x265:wpp": "1"}),
        "refused/range": with_changes(encoded(rng, full_range_flag=0), heif.clap(45, 37, 0, 0), heif.irot(2)),
    }  # fmt: skip
    (OUT / "refused").mkdir(exist_ok=True, parents=True)
    for name, file in samples.items():
        (OUT / f"{name}.heic").write_bytes(file)
        if name.startswith("refused"):
            continue
        found = Image.open(io.BytesIO(file))
        print(name, len(file), found.mode, found.size)
        heif.write_pixels(found, OUT / f"{name}.png")


if __name__ == "__main__":
    main()
