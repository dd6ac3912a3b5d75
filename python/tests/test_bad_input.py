"""Bad input is an exception that names the index and what was expected, and never a crash."""

from __future__ import annotations

import io
import mmap
import pathlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

import clipway
from conftest import PICTURES, TEXTS

GOOD = PICTURES[0]


class Odd:
    """Nothing that anything takes."""


def closed_image() -> Image.Image:
    image = Image.open(GOOD)
    image.close()
    return image


def released() -> memoryview:
    view = memoryview(GOOD.read_bytes())
    view.release()
    return view


def closed_map() -> mmap.mmap:
    with open(GOOD, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    mapped.close()
    return mapped


IMAGES: list[tuple[str, Any, type[Exception], str]] = [
    ("a number", 3, TypeError, "image 1: expected the bytes of an image file.*found int"),
    ("None", None, TypeError, "image 1: .*found NoneType"),
    ("an object", Odd(), TypeError, "image 1: .*found Odd"),
    ("a list", [1], TypeError, "image 1: .*found list"),
    ("an open file", io.BytesIO(b"x"), TypeError, r"image 1: .*pass the bytes that `read\(\)` returns"),
    ("floats", np.zeros((4, 4, 3), np.float32), TypeError, "image 1: expected a uint8 array.*found dtype float32"),
    ("an object array", np.array([[None]]), TypeError, "image 1: .*found dtype object"),
    ("gray", np.zeros((4, 4), np.uint8), ValueError, "image 1: .*convert it to RGB"),
    ("RGBA", np.zeros((4, 4, 4), np.uint8), ValueError, "image 1: .*convert it to RGB"),
    ("channels first", np.zeros((3, 4, 4), np.uint8), ValueError, "image 1: .*move the channels to the end"),
    ("a batch", np.zeros((2, 4, 4, 3), np.uint8), ValueError, r"image 1: .*found \[2, 4, 4, 3\]"),
    ("no rows", np.zeros((0, 4, 3), np.uint8), ValueError, "image 1: .*has no pixels"),
    ("a closed image", closed_image(), ValueError, "image 1: "),
    ("an odd mode", Image.new("YCbCr", (4, 4)), ValueError, "image 1: the PIL mode `YCbCr` is not supported"),
    ("a released view", released(), ValueError, "image 1: "),
    ("a closed map", closed_map(), ValueError, "image 1: "),
]


@pytest.mark.parametrize(("name", "image", "kind", "pattern"), IMAGES, ids=[one[0] for one in IMAGES])
@pytest.mark.parametrize("on_error", ["raise", "nan"])
def test_an_image_of_another_kind(
    model: clipway.Model, name: str, image: Any, kind: type[Exception], pattern: str, on_error: Any
) -> None:
    with pytest.raises(kind, match=pattern):
        model.encode_image([GOOD, image], on_error=on_error)
    with pytest.raises(kind, match=pattern):
        model.preprocess([GOOD, image])


UNREADABLE: list[tuple[str, Any, str]] = [
    ("no image", b"not an image", "unknown-format"),
    ("empty", b"", "unknown-format"),
    ("cut", GOOD.read_bytes()[:200], "truncated"),
    ("absent", "/nowhere/x.png", "io"),
    ("a folder", "/", "unsupported"),
    ("a null byte", "a\0b", ""),
]


@pytest.mark.parametrize(("name", "image", "code"), UNREADABLE, ids=[one[0] for one in UNREADABLE])
def test_an_unreadable_image(model: clipway.Model, name: str, image: Any, code: str) -> None:
    with pytest.raises(clipway.ClipwayError, match="image 1") as error:
        model.encode_image([GOOD, image, GOOD])
    assert error.value.code
    assert name in ("absent", "a folder", "a null byte") or error.value.code == code
    with pytest.raises(clipway.ClipwayError, match="image 1"):
        model.preprocess([GOOD, image])
    rows = model.encode_image([GOOD, image, GOOD], on_error="nan", batch_size=2)
    assert np.isnan(rows[1]).all() and np.isfinite(rows[[0, 2]]).all()
    np.testing.assert_array_equal(rows[[0, 2]], model.encode_image([GOOD, GOOD]))
    told: list[tuple[int, str]] = []
    model.encode_image([image, GOOD, image], on_error=lambda index, error: told.append((index, type(error).__name__)))
    assert told == [(0, "ClipwayError"), (2, "ClipwayError")]


def test_an_image_over_the_limit(emoji: pathlib.Path) -> None:
    model = clipway.Model.load(emoji, max_pixels=1000)
    for image in (GOOD, GOOD.read_bytes(), Image.open(GOOD), np.zeros((100, 100, 3), np.uint8)):
        with pytest.raises(clipway.ClipwayError, match="image 0.*more than the limit of 1000") as error:
            model.encode_image([image])
        assert error.value.code == "too-large"


def test_nulls_of_a_column(model: clipway.Model) -> None:
    pa = pytest.importorskip("pyarrow")
    column = pa.array([GOOD.read_bytes(), None])
    with pytest.raises(clipway.ClipwayError, match="image 1: null"):
        model.encode_image(column)
    rows = model.encode_image(column, on_error="nan")
    assert np.isfinite(rows[0]).all() and np.isnan(rows[1]).all()
    with pytest.raises(TypeError, match="expected a column of binary values, found one of int64"):
        model.encode_image(pa.array([1, 2]))


@pytest.mark.parametrize("images", [b"x", "x.png", GOOD, Image.new("RGB", (4, 4)), np.zeros((4, 4, 3), np.uint8), bytearray(b"x")])
def test_one_image_alone(model: clipway.Model, images: Any) -> None:
    with pytest.raises(TypeError, match=r"expected a sequence of images, found one .*pass `\[image\]`"):
        model.encode_image(images)


@pytest.mark.parametrize("images", [3, None, {"a": b"x"}, Odd()])
def test_no_sequence(model: clipway.Model, images: Any) -> None:
    with pytest.raises(TypeError, match="expected a sequence of images, found"):
        model.encode_image(images)


@pytest.mark.parametrize(
    ("texts", "kind", "pattern"),
    [
        ("alone", TypeError, r"expected a sequence of texts, found one: pass `\[text\]`"),
        (3, TypeError, "expected a sequence of texts, found int"),
        (["a", 3], TypeError, "text 1: expected a string, found int"),
        (["a", b"b"], TypeError, "text 1: expected a string, found bytes"),
        (["a", "b\ud800"], ValueError, "text 1: not valid Unicode"),
    ],
)
def test_bad_texts(model: clipway.Model, texts: Any, kind: type[Exception], pattern: str) -> None:
    for call in (model.encode_text, model.tokenize):
        with pytest.raises(kind, match=pattern):
            call(texts)


def test_bad_arguments(model: clipway.Model) -> None:
    any_model: Any = model
    cases: list[tuple[Any, type[Exception], str]] = [
        (lambda: any_model.encode_image([GOOD], batch_size=0), ValueError, "batch_size.*at least 1"),
        (lambda: any_model.encode_image([GOOD], batch_size=-1), OverflowError, "negative"),
        (lambda: any_model.encode_image([GOOD], on_error="ignore"), ValueError, "on_error"),
        (lambda: any_model.encode_image([GOOD], on_error=3), TypeError, "on_error.*found int"),
        (lambda: any_model.encode_image([GOOD], progress=3), TypeError, "progress.*found int"),
        (lambda: any_model.encode_image([GOOD], out=[1]), TypeError, "`out`: expected a float32 array.*found list"),
        (lambda: any_model.encode_image([GOOD], out=np.zeros((1, 128))), TypeError, "found dtype float64"),
        (lambda: any_model.encode_image([GOOD], out=np.zeros((2, 128), np.float32)), ValueError, r"found \[2, 128\]"),
        (lambda: any_model.encode_image([GOOD], out=np.zeros((1, 256), np.float32)[:, ::2]), ValueError, "rows follow"),
        (lambda: any_model.encode_image(iter([GOOD]), out=np.zeros((2, 128), np.float32)), ValueError, "there were 1"),
        (lambda: any_model.encode_image(iter([GOOD] * 2), out=np.zeros((1, 128), np.float32)), ValueError, "more images"),
        (lambda: any_model.classify([GOOD], []), ValueError, "at least one label"),
        (lambda: any_model.classify([GOOD], ["a"], []), ValueError, "at least one template"),
        (lambda: any_model.classify([GOOD], ["a"], ["no place"]), ValueError, "has no `{}`"),
        (lambda: any_model.classify([GOOD], "cat"), TypeError, "sequence of labels"),
        (lambda: any_model.encode_pixels(np.zeros((1, 3, 2, 2), np.float32)), ValueError, "expected pixels"),
        (lambda: any_model.encode_pixels(np.zeros((3, 2, 2), np.float32)), ValueError, r"found \[3, 2, 2\]"),
        (lambda: any_model.encode_pixels(np.zeros((1, 3, 2, 2))), TypeError, "found dtype float64"),
        (lambda: any_model.encode_tokens(np.zeros((1, 2), np.int64)), ValueError, "expected token ids"),
        (lambda: any_model.encode_tokens(np.zeros((1, 16), np.int32)), TypeError, "found dtype int32"),
        (lambda: any_model.encode_tokens([[1]]), TypeError, "found list"),
        (lambda: clipway.Model(), TypeError, "constructor|create"),
    ]
    for call, kind, pattern in cases:
        with pytest.raises(kind, match=pattern):
            call()
    with pytest.raises(clipway.ClipwayError) as error:
        model.encode_tokens(np.full((1, model.context_length), 10**9, np.int64))
    assert error.value.code == "token-range"
    read_only = np.zeros((1, 128), np.float32)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="`out`"):
        model.encode_image([GOOD], out=read_only)


def test_bad_sources(emoji: pathlib.Path, tmp_path: pathlib.Path) -> None:
    any_load: Any = clipway.Model.load
    with pytest.raises(clipway.ClipwayError) as error:
        any_load(tmp_path / "absent")
    assert error.value.code == "io"
    with pytest.raises(clipway.ClipwayError) as error:
        any_load("ViT-B-32:openia")
    assert error.value.code == "unknown-tag" and "clipway models" in str(error.value.hint)
    with pytest.raises(TypeError, match="has no option `tower`; the nearest is `towers`"):
        any_load(emoji, tower="image")
    with pytest.raises(clipway.ClipwayError) as error:
        any_load(emoji, compute="f64")
    assert error.value.code == "bad-option"
    for bad in (None, 3.5j, b"\xff", object()):
        with pytest.raises((TypeError, clipway.ClipwayError)):
            any_load(bad)
    with pytest.raises(clipway.ClipwayError):
        any_load(emoji, threads=0)


def test_hashes_are_checked_on_request(emoji: pathlib.Path, tmp_path: pathlib.Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(emoji, copy)
    assert clipway.Model.load(copy, verify="hashes").dims == 128
    (copy / "README.md").write_text("changed")
    with pytest.raises(clipway.ClipwayError) as error:
        clipway.Model.load(copy, verify="hashes")
    assert error.value.code == "checksum" and "README.md" in str(error.value)
    assert clipway.Model.load(copy).encode_text(TEXTS).shape == (len(TEXTS), 128)
