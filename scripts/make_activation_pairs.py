#!/usr/bin/env python3
"""Makes the image-text pairs with which clipway compares activations, `crates/clipway-run/data/pairs`.

    scripts/make_activation_pairs.py EMOJI_CLIP [--out DIR]

EMOJI_CLIP is the full folder of the emoji model: 200 images of Microsoft's Fluent Emoji (3D style, MIT license) with
their Unicode names. They become one sheet of 20 by 10 images, 64 by 64 pixels each, `pictures.webp`, and one line of
text each in the same order, `texts.txt`. Needs Pillow 13.
"""
import argparse
import json
from pathlib import Path

from PIL import Image

SIDE, COLUMNS = 64, 20


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("crates/clipway-run/data/pairs"))
    options = parser.parse_args()
    pairs = json.loads((options.folder / "expected.json").read_text())["pictures"]
    rows = -(-len(pairs) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * SIDE, rows * SIDE), "white")
    for index, pair in enumerate(pairs):
        with Image.open(options.folder / "pictures" / pair["file"]) as image:
            small = image.convert("RGB").resize((SIDE, SIDE), Image.LANCZOS)
        sheet.paste(small, (index % COLUMNS * SIDE, index // COLUMNS * SIDE))
    options.out.mkdir(parents=True, exist_ok=True)
    sheet.save(options.out / "pictures.webp", quality=90, method=6)
    (options.out / "texts.txt").write_text("".join(f"{pair['label']}\n" for pair in pairs))


if __name__ == "__main__":
    main()
