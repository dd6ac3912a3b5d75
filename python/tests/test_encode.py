"""Features, tokens and probabilities equal those of the command line, bit for bit."""

from __future__ import annotations

import io
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

import clipway
from conftest import PICTURES, TEXT, TEXTS, command_line, small_model


def of_command_line(folder: pathlib.Path, out: pathlib.Path, *arguments: object) -> np.ndarray:
    done = command_line("embed", folder, *arguments, "--out", out)
    assert done.returncode == 0, done.stderr
    return np.load(out)


@pytest.mark.parametrize("normalize", [True, False])
def test_features_equal_the_command_line(folder: pathlib.Path, tmp_path: pathlib.Path, normalize: bool) -> None:
    model = clipway.Model.load(folder)
    more = ["--normalize"] if normalize else []
    images = model.encode_image(PICTURES, normalize=normalize)
    assert images.dtype == np.float32 and images.shape == (len(PICTURES), model.dims) and images.flags.c_contiguous
    np.testing.assert_array_equal(images, of_command_line(folder, tmp_path / "i.npy", *PICTURES, *more))
    words = [word for text in TEXTS for word in ("--text", text)]
    texts = model.encode_text(TEXTS, normalize=normalize)
    np.testing.assert_array_equal(texts, of_command_line(folder, tmp_path / "t.npy", *words, *more))
    if normalize:
        np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-5)
    # The two steps of each tower give the same.
    np.testing.assert_array_equal(images, model.encode_pixels(model.preprocess(PICTURES), normalize=normalize))
    np.testing.assert_array_equal(texts, model.encode_tokens(model.tokenize(TEXTS), normalize=normalize))


def test_every_kind_of_image_gives_the_same(model: clipway.Model) -> None:
    pa = pytest.importorskip("pyarrow")
    expected = model.encode_image(PICTURES)
    files = [path.read_bytes() for path in PICTURES]
    opened = [Image.open(path) for path in PICTURES]
    kinds = {
        "strings": [str(path) for path in PICTURES],
        "bytes": files,
        "bytearrays": [bytearray(data) for data in files],
        "memoryviews": [memoryview(data) for data in files],
        "PIL images": opened,
        "a generator": (data for data in files),
        "a tuple": tuple(files),
        "binary": pa.array(files, pa.binary()),
        "large binary": pa.array(files, pa.large_binary()),
        "binary view": pa.array(files, pa.binary_view()),
        "a slice": pa.array([b"x", *files, b"y"]).slice(1, len(files)),
        "chunks": pa.chunked_array([files[:2], [], files[2:]], pa.binary()),
        "an object array": np.array(files, dtype=object),
    }
    for name, images in kinds.items():
        np.testing.assert_array_equal(model.encode_image(images), expected, err_msg=name)
    np.testing.assert_array_equal(model.encode_image(files, batch_size=1), expected)


def test_heic_files_equal_their_pixels(model: clipway.Model) -> None:
    samples = pathlib.Path(__file__).parents[2] / "crates/clipway-run/tests/data/heif"
    names = ["rgb", "grid", "alpha", "ten", "turned"]
    expected = model.encode_image([samples / f"{name}.png" for name in names])
    files = [samples / f"{name}.heic" for name in names]
    np.testing.assert_array_equal(model.encode_image(files), expected)
    np.testing.assert_array_equal(model.encode_image([file.read_bytes() for file in files]), expected)


def test_avif_files_equal_their_pixels(model: clipway.Model) -> None:
    samples = pathlib.Path(__file__).parents[2] / "crates/clipway-run/tests/data/avif"
    names = ["rgb", "grid", "alpha", "ten", "grain"]
    expected = model.encode_image([samples / f"{name}.png" for name in names])
    np.testing.assert_array_equal(model.encode_image([samples / f"{name}.avif" for name in names]), expected)


def test_arrays_equal_rgb_images(model: clipway.Model) -> None:
    images = [Image.open(path).convert("RGB") for path in PICTURES]
    expected = model.encode_image(images)
    arrays = [np.asarray(image) for image in images]
    np.testing.assert_array_equal(model.encode_image(arrays), expected)
    # Rows that do not follow each other are copied.
    turned = [np.asfortranarray(array) for array in arrays]
    assert not turned[0].flags.c_contiguous
    np.testing.assert_array_equal(model.encode_image(turned), expected)
    same = [array for array in arrays if array.shape == arrays[0].shape]
    np.testing.assert_array_equal(model.encode_image(np.stack(same)), model.encode_image(same))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_mode_of_pil_equals_its_file(model: clipway.Model, mode: str) -> None:
    image = Image.open(PICTURES[0]).convert("RGB")
    if mode == "LA":
        image = Image.open(PICTURES[0]).convert("RGBA").convert("LA")
    elif mode == "RGBA":
        image = Image.open(PICTURES[0]).convert("RGBA")
    elif mode in ("I;16", "I", "F"):
        image = image.convert("L").convert("I").point(lambda value: value * 1).convert(mode if mode == "F" else "I")
        image = image.convert("I;16") if mode == "I;16" else image
    else:
        image = image.convert(mode)
    assert image.mode == mode
    data = io.BytesIO()
    image.save(data, "TIFF")
    np.testing.assert_array_equal(model.preprocess([image]), model.preprocess([data.getvalue()]))


def test_probabilities_equal_the_command_line(folder: pathlib.Path) -> None:
    model, labels = clipway.Model.load(folder), ["lion", "snail", "avocado", "sunset"]
    templates = ["an emoji of {}", "{}"]
    found = model.classify(PICTURES, labels, templates)
    done = command_line(
        "classify", folder, *PICTURES, "--labels", ",".join(labels), "--json", "--top", 4,
        *(word for template in templates for word in ("--template", template)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for row, image in zip(found, json.loads(done.stdout)["images"], strict=True):
        stated = {one["label"]: np.float32(one["probability"]) for one in image["labels"]}
        assert [stated[label] for label in labels] == list(row)


def test_out_is_written_into(model: clipway.Model) -> None:
    expected = model.encode_image(PICTURES)
    out = np.zeros_like(expected)
    assert model.encode_image(PICTURES, out=out, batch_size=2) is out
    np.testing.assert_array_equal(out, expected)
    texts = np.zeros((len(TEXTS), model.dims), dtype=np.float32)
    assert model.encode_text(TEXTS, out=texts) is texts
    np.testing.assert_array_equal(texts, model.encode_text(TEXTS))
    np.testing.assert_array_equal(model.encode_image(iter(PICTURES), out=out), expected)


def test_nothing_gives_no_rows(model: clipway.Model) -> None:
    assert model.encode_image([]).shape == (0, model.dims)
    assert model.encode_text([]).shape == (0, model.dims)
    assert model.preprocess([]).shape == (0, 3, *model.image_size)
    assert model.tokenize([]).shape == (0, model.context_length)


def test_what_a_model_says_of_itself(model: clipway.Model, emoji: pathlib.Path) -> None:
    assert (model.dims, model.threads, model.logit_bias) == (128, 1, None)
    assert model.image_size == (48, 48) or len(model.image_size) == 2
    assert model.logit_scale > 1
    assert model.fingerprint and model.fingerprint == clipway.Model.load(emoji, towers="image").fingerprint
    info = model.info
    assert info["path"] == str(emoji) and info["model"]["embed_dim"] == 128
    assert info["preprocess"]["rule"] == "open_clip" and info["preprocess"]["size"] == list(model.image_size)
    assert repr(model).startswith("<clipway.Model ")


def test_progress_is_reported(model: clipway.Model) -> None:
    seen: list[tuple[int, int | None]] = []
    model.encode_image(PICTURES[:5], batch_size=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 5), (4, 5), (5, 5)]
    seen.clear()
    model.encode_image(iter(PICTURES[:3]), batch_size=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, None), (3, None)]
    pytest.importorskip("tqdm")
    assert model.encode_image(PICTURES, progress=True).shape[0] == len(PICTURES)


def test_long_texts_are_truncated_with_a_warning(model: clipway.Model) -> None:
    with pytest.warns(clipway.ClipwayWarning, match="1 of 2 texts are longer"):
        model.encode_text(["word " * 100, "short"])


def test_one_tower(emoji: pathlib.Path) -> None:
    model = clipway.Model.load(emoji, towers="image")
    assert model.encode_image(PICTURES[:1]).shape == (1, model.dims)
    for call in (lambda: model.encode_text(["a"]), lambda: model.tokenize(["a"])):
        with pytest.raises(clipway.ClipwayError) as error:
            call()
        assert error.value.code == "missing"
    with pytest.raises(AttributeError):
        _ = model.context_length


def test_images_that_keep_their_proportions(tmp_path: pathlib.Path) -> None:
    patches = {"patch_size": 8, "embed_dim": 32, "depth": 1, "num_heads": 2, "mlp_ratio": 2.0, "pos_embed_grid_size": [4, 4]}
    vision = {"timm_model_name": "naflexvit_base_patch16_gap", "image_size": 32, "timm_pool": "avg", "timm_proj": "linear"}
    config = {"embed_dim": 16, "custom_text": True, "vision_cfg": {**vision, "timm_model_kwargs": patches}, "text_cfg": TEXT}
    folder = small_model(tmp_path / "model", config)
    wide = Image.open(PICTURES[0]).convert("RGB").resize((120, 40))
    wide.save(tmp_path / "wide.png")
    paths = [tmp_path / "wide.png", PICTURES[1]]
    model = clipway.Model.load(folder, max_patches=20)
    features = model.encode_image(paths)
    np.testing.assert_array_equal(
        features, of_command_line(folder, tmp_path / "i.npy", *paths, "--max-patches", 20, "--normalize")
    )
    np.testing.assert_array_equal(features[0], model.encode_image([wide])[0])
    squashed = clipway.Model.load(folder).encode_image(paths)
    assert float((squashed[0] * features[0]).sum()) < 0.9999
    assert (model.info["preprocess"]["rule"], model.info["preprocess"]["max_patches"]) == ("timm", 20)
    for call in (lambda: model.preprocess(paths), lambda: model.encode_pixels(np.zeros((1, 3, 32, 32), np.float32))):
        with pytest.raises(ValueError, match="keep their proportions"):
            call()
