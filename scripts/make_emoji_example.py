#!/usr/bin/env python3
"""Draws examples/emoji-clip from the full emoji-clip folder.

usage: make_emoji_example.py EMOJI_CLIP_FOLDER examples/emoji-clip

Copies the weights, the config and a few images, lists the labels, and keeps open_clip's own outputs for just these
images and all labels, so that a clone can check itself without the full folder.
"""

import json
import pathlib
import shutil
import sys

import numpy
from safetensors.numpy import load_file, save_file

IMAGES = [
    "avocado", "broccoli", "coin", "desktop-computer", "door", "eggplant",
    "goal-net", "jack-o-lantern", "lion", "milky-way", "scissors", "tiger",
]


def main(source: pathlib.Path, target: pathlib.Path) -> None:
    expected = json.loads((source / "expected.json").read_text())
    tensors = load_file(source / "expected.safetensors")
    (target / "pictures").mkdir(parents=True, exist_ok=True)
    for name in ("emoji-clip.pt", "emoji-clip.json"):
        shutil.copyfile(source / name, target / name)
    rows = []
    for name in IMAGES:
        row = next(i for i, p in enumerate(expected["pictures"]) if p["file"] == f"{name}.png")
        shutil.copyfile(source / "pictures" / f"{name}.png", target / "pictures" / f"{name}.png")
        rows.append(row)
    labels = [p["label"] for p in expected["pictures"]]
    (target / "labels.txt").write_text("".join(f"{label}\n" for label in labels))
    kept = {
        "open_clip": expected["open_clip"],
        "templates": expected["templates"],
        "pictures": [
            {
                "file": expected["pictures"][r]["file"],
                "label": expected["pictures"][r]["label"],
                "top1": expected["top1"][r],
                "top1_probability": expected["top1_probability"][r],
            }
            for r in rows
        ],
    }
    (target / "expected.json").write_text(json.dumps(kept, indent=1) + "\n")
    save_file(
        {
            "image_features": numpy.ascontiguousarray(tensors["image_features"][rows]),
            "text_features": tensors["text_features"],
            "tokens": tensors["tokens"],
        },
        target / "expected.safetensors",
    )


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
