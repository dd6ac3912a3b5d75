"""A program as users write it, for type checkers."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import clipway
from clipway import open_clip


def report(done: int, total: int | None) -> None:
    print(done, total)


def paths() -> Iterator[pathlib.Path]:
    yield pathlib.Path("a.png")


def run(folder: pathlib.Path, towers: Literal["both", "image"]) -> NDArray[np.float32]:
    model = clipway.Model.load(folder, towers=towers, threads=2, model="ViT-B-32", image_mean=[0.5, 0.5, 0.5])
    out: NDArray[np.float32] = np.zeros((1, model.dims), np.float32)
    model.encode_image([b"", "a.png", pathlib.Path("b.png"), np.zeros((4, 4, 3), np.uint8)], progress=report)
    model.encode_image(paths(), out=out, on_error="nan", progress=True)
    model.encode_image(np.zeros((2, 4, 4, 3), np.uint8), on_error=lambda index, error: print(index, error))
    scores = model.classify(["a.png"], ["cat", "dog"], templates=["a {}"])
    ids: NDArray[np.int64] = model.tokenize(["a"])
    try:
        clipway.export("a.pt", folder, precision="fp16", to=["open_clip"], dry_run=True)
        clipway.verify(folder, against="a.pt", blocks=True)
        print(clipway.inspect("a.pt")["layout"])
    except clipway.ClipwayError as error:
        print(error.code.upper(), (error.hint or "").upper())
    height, width = model.image_size
    bias: float | None = model.logit_bias
    tokens = open_clip.get_tokenizer("ViT-B-32")(["a"])
    print(ids, height + width, bias, tokens, model.info["notes"])
    return scores
