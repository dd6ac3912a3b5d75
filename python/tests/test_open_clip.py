"""`clipway.open_clip` in place of open_clip: with NumPy alone, and beside open_clip where that is installed."""

from __future__ import annotations

import importlib.util
import pathlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

import clipway
from clipway import open_clip
from conftest import PICTURES, TEXTS

HAS_TORCH = importlib.util.find_spec("torch") is not None
HAS_OPEN_CLIP = HAS_TORCH and importlib.util.find_spec("open_clip") is not None


def inference(library: Any, folder: pathlib.Path) -> dict[str, np.ndarray]:
    """A script as users of open_clip have it; only the library differs."""
    model, _, preprocess = library.create_model_and_transforms(f"local-dir:{folder}")
    model.eval()
    tokenizer = library.get_tokenizer(f"local-dir:{folder}")
    pixels = [preprocess(Image.open(path)) for path in PICTURES]
    tokens = tokenizer(TEXTS)
    if HAS_TORCH:
        import torch

        with torch.no_grad():
            batch = torch.stack(pixels)
            images, texts = model.encode_image(batch, normalize=True), model.encode_text(tokens, normalize=True)
            raw = model.encode_image(batch)
            probabilities = (model.logit_scale.exp() * images @ texts.T).softmax(dim=-1)
            logits = model.get_logits(batch, tokens)[0]
            called = model(batch, tokens)[0]
    else:
        batch = np.stack(pixels)
        images, texts = model.encode_image(batch, normalize=True), model.encode_text(tokens, normalize=True)
        raw = model.encode_image(batch)
        logits = np.exp(model.logit_scale) * images @ texts.T
        probabilities = np.exp(logits - logits.max(1, keepdims=True))
        probabilities /= probabilities.sum(1, keepdims=True)
        called = model(batch, tokens)[0]
    found = {"pixels": batch, "tokens": tokens, "images": images, "texts": texts, "raw": raw}
    found |= {"probabilities": probabilities, "logits": logits, "called": called}
    return {name: np.asarray(value) for name, value in found.items()}


def test_a_script_gives_what_the_model_gives(emoji: pathlib.Path) -> None:
    found, model = inference(open_clip, emoji), clipway.Model.load(emoji)
    np.testing.assert_array_equal(found["pixels"], model.preprocess(PICTURES))
    np.testing.assert_array_equal(found["tokens"], model.tokenize(TEXTS))
    np.testing.assert_array_equal(found["images"], model.encode_image(PICTURES))
    np.testing.assert_array_equal(found["texts"], model.encode_text(TEXTS))
    np.testing.assert_array_equal(found["raw"], model.encode_image(PICTURES, normalize=False))
    np.testing.assert_array_equal(found["called"], found["images"])
    np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1, rtol=1e-5)


@pytest.mark.skipif(not HAS_OPEN_CLIP, reason="open_clip is not installed")
def test_a_script_gives_what_open_clip_gives(emoji: pathlib.Path) -> None:
    import open_clip as original

    ours, theirs = inference(open_clip, emoji), inference(original, emoji)
    for name in ("pixels", "tokens"):
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
        assert ours[name].dtype == theirs[name].dtype
    for name in ("images", "texts", "raw", "probabilities", "logits", "called"):
        np.testing.assert_allclose(ours[name], theirs[name], atol=2e-5, rtol=2e-4, err_msg=name)


def test_names_as_open_clip_gives_them(emoji: pathlib.Path) -> None:
    model, preprocess = open_clip.create_model_from_pretrained(str(emoji))
    pixels = preprocess(Image.open(PICTURES[0]))
    assert tuple(pixels.shape) == (3, *model.visual.image_size)
    assert type(pixels).__module__.split(".")[0] == ("torch" if HAS_TORCH else "numpy")
    tokens = open_clip.get_tokenizer("ViT-B-32")("a lion")
    assert tuple(tokens.shape) == (1, 77) and int(tokens[0, 0]) == 49406
    assert tuple(open_clip.get_tokenizer(f"local-dir:{emoji}")(["a", "b"]).shape) == (2, model.context_length)


def test_what_clipway_does_not_do(emoji: pathlib.Path) -> None:
    model, train, _ = open_clip.create_model_and_transforms(emoji)
    assert model.to("cpu") is model.eval() and model.train(False) is model
    for call in (lambda: model.to("cuda"), lambda: model.train(), lambda: train(None)):
        with pytest.raises(NotImplementedError):
            call()
    with pytest.raises(ValueError, match="random weights"):
        open_clip.create_model("ViT-B-32")
    with pytest.raises(ValueError, match="expected the context length"):
        open_clip.get_tokenizer(emoji, context_length=5)
    with pytest.raises(clipway.ClipwayError) as error:
        open_clip.get_tokenizer("xlm-roberta-base-ViT-B-32")
    assert error.value.code == "missing-tokenizer"
