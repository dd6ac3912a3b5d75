#!/usr/bin/env python3
"""Writes the small AVIF files in `crates/clipway-run/tests/data/avif`, each with a PNG of the pixels that Pillow reads from it.

    python scripts/make_avif_samples.py

Needs what `avif_files.py` needs. The orientation that Pillow finds stands at the end of a name, where it is not 1.
"""

import io
from pathlib import Path

import avif_files as avif
import heif_files as heif
import numpy as np
from compare_preprocess import draw
from PIL import Image

OUT = Path(__file__).parent.parent / "crates/clipway-run/tests/data/avif"


def main():
    rng = np.random.default_rng(0)

    def drawn(channels=3, size=(45, 38), **options):
        return avif.encode(draw(rng, *size, channels), **options)

    other = Image.frombytes("RGB", (45, 38), rng.bytes(45 * 38 * 3))
    samples = {
        "rgb": drawn(),
        "half": drawn(subsampling="4:2:2"),
        "full": drawn(subsampling="4:4:4"),
        "limited": drawn(range="limited"),
        "unstated": avif.with_coding(drawn(range="limited")),
        "bt709": avif.with_coding(drawn(), 1),
        "bt709_limited": avif.with_coding(drawn(subsampling="4:4:4"), 1, whole=False),
        "bt2020": avif.with_coding(drawn(), 9),
        "bt2020_limited": avif.with_coding(drawn(), 9, whole=False),
        "fcc": avif.with_coding(drawn(), 4),
        "smpte240_limited": avif.with_coding(drawn(subsampling="4:2:2"), 7, whole=False),
        "identity": avif.with_coding(drawn(subsampling="4:4:4"), 0),
        "identity_limited": avif.with_coding(drawn(subsampling="4:4:4"), 0, whole=False),
        "ycgco": avif.with_coding(drawn(), 8),
        "ycgco_reversible": avif.with_coding(drawn(bits=10, subsampling="4:4:4"), 16),
        "ten": drawn(bits=10),
        "ten_fcc": avif.with_coding(drawn(bits=10), 4),
        "ten_alpha": drawn(4, bits=10),
        "ten_alpha_full": drawn(4, bits=10, subsampling="4:4:4"),
        "twelve": drawn(bits=12, subsampling="4:4:4"),
        "twelve_alpha": drawn(4, bits=12),
        "twelve_alpha_half": drawn(4, bits=12, subsampling="4:2:2"),
        "gray": drawn(1, subsampling="4:0:0"),
        "gray_limited": drawn(1, subsampling="4:0:0", range="limited"),
        "gray_ten": drawn(1, bits=10, subsampling="4:0:0"),
        "gray_alpha": drawn(2, subsampling="4:0:0"),
        "alpha": drawn(4),
        "alpha_limited": avif.with_coding(drawn(4, range="limited"), 4, whole=False),
        "grain": drawn(size=(64, 48), advanced={"film-grain-test": "3"}),
        "parts": drawn(size=(200, 130), quality=30, tile_cols=1, tile_rows=1),
        "grid": avif.gridded(draw(rng, 150, 130, 3), 64, quality=50),
        "grid_alpha": avif.gridded(draw(rng, 100, 70, 4), 64, quality=50),
        "sequence": drawn(save_all=True, append_images=[other]),
        "narrow": drawn(size=(1, 37)),
        "low": drawn(size=(37, 1), subsampling="4:2:2"),
        "turned": drawn(exif=heif.turned_exif()),
        "mirrored": avif.with_properties(drawn(), heif.irot(1), heif.imir(0)),
        "cropped": avif.with_properties(drawn(), heif.clap(21, 20, 0, 0), heif.imir(1)),
        "refused/matrix": avif.with_coding(drawn(), 11),
    }
    (OUT / "refused").mkdir(exist_ok=True, parents=True)
    for name, file in samples.items():
        if name.startswith("refused"):
            (OUT / f"{name}.avif").write_bytes(file)
            continue
        found = Image.open(io.BytesIO(file))
        found.load()
        assert found.format == "AVIF", name
        turn = avif.orientation(found)
        name += f".{turn}" if turn != 1 else ""
        print(name, len(file), found.mode, found.size)
        (OUT / f"{name}.avif").write_bytes(file)
        heif.write_pixels(found, OUT / f"{name}.png")


if __name__ == "__main__":
    main()
