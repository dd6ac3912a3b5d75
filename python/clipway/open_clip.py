"""Stands in for open_clip in scripts that run models: `from clipway import open_clip` instead of `import open_clip`.

>>> from clipway import open_clip
>>> model, preprocess = open_clip.create_model_from_pretrained("out/model")
>>> tokenizer = open_clip.get_tokenizer("out/model")
>>> features = model.encode_image(preprocess(image).unsqueeze(0), normalize=True)

Where PyTorch is installed, values are tensors on the CPU; otherwise they are NumPy arrays. Only inference is here: there are no
parameters, no gradients and no training transforms. docs/python.md lists the differences.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Iterable
from typing import Any, Union

import numpy as np

from clipway._clipway import Model, Tokenizer

__all__ = [
    "CLIP",
    "create_model",
    "create_model_and_transforms",
    "create_model_from_pretrained",
    "get_tokenizer",
]

_HAS_TORCH = importlib.util.find_spec("torch") is not None

StrPath = Union[str, "os.PathLike[str]"]


def _given(array: Any) -> Any:
    """A NumPy array as the caller's kind of array."""
    if not _HAS_TORCH:
        return array
    import torch

    return torch.from_numpy(array)


def _taken(array: Any, dtype: type) -> Any:
    """A tensor or an array as a NumPy array. Tensors share their memory."""
    if hasattr(array, "detach"):
        if array.device.type != "cpu":
            raise ValueError(f"expected a tensor on the CPU, found one on `{array.device}`")
        array = array.detach().numpy()
    return np.asarray(array).astype(dtype, copy=False)


def _source(model_name: StrPath, pretrained: StrPath | None) -> tuple[StrPath, dict[str, Any]]:
    """A source of clipway, with its options, as open_clip's arguments name it."""
    name = os.fspath(model_name)
    if name.startswith("local-dir:"):
        return name.removeprefix("local-dir:"), {}
    if name.startswith("hf-hub:") or os.path.exists(name):
        return name, {}
    if not pretrained:
        raise ValueError(
            f"`{name}` without `pretrained` would be a model with random weights: name a tag or a file, "
            "a folder (`local-dir:PATH`) or a repository (`hf-hub:OWNER/NAME`)"
        )
    if os.path.exists(pretrained):
        return pretrained, {"model": name}
    return f"{name}:{os.fspath(pretrained)}", {}


class CLIP:
    """A model with the methods of open_clip's `CLIP` that run it."""

    def __init__(self, model: Model) -> None:
        self.model = model

    @property
    def visual(self) -> CLIP:
        """The image tower, for its `image_size` alone."""
        return self

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the input, in pixels."""
        return self.model.image_size

    @property
    def context_length(self) -> int:
        """Number of tokens in a row."""
        return self.model.context_length

    @property
    def logit_scale(self) -> Any:
        """The stored scale, whose exponential is the factor."""
        return _given(np.array(math.log(self.model.logit_scale), dtype=np.float32))

    @property
    def logit_bias(self) -> Any:
        """The value added to logits, or None."""
        bias = self.model.logit_bias
        return None if bias is None else _given(np.array(bias, dtype=np.float32))

    def encode_image(self, image: Any, normalize: bool = False) -> Any:
        """Features of pixels `[batch, 3, height, width]`."""
        return _given(self.model.encode_pixels(_taken(image, np.float32), normalize=normalize))

    def encode_text(self, text: Any, normalize: bool = False) -> Any:
        """Features of token ids `[batch, context_length]`."""
        return _given(self.model.encode_tokens(_taken(text, np.int64), normalize=normalize))

    def get_logits(self, image: Any, text: Any) -> tuple[Any, Any]:
        """Logits per image, and per text."""
        images, texts = self.encode_image(image, normalize=True), self.encode_text(text, normalize=True)
        logits = self.model.logit_scale * images @ texts.T
        if self.model.logit_bias is not None:
            logits = logits + self.model.logit_bias
        return logits, logits.T

    def __call__(self, image: Any = None, text: Any = None) -> tuple[Any, ...]:
        """Normalized features of images and texts, and the factor; then the bias, if the model has one."""
        images = None if image is None else self.encode_image(image, normalize=True)
        texts = None if text is None else self.encode_text(text, normalize=True)
        factor = _given(np.array(self.model.logit_scale, dtype=np.float32))
        return (images, texts, factor) if self.logit_bias is None else (images, texts, factor, self.logit_bias)

    forward = __call__

    def eval(self) -> CLIP:
        """The model itself: it only runs."""
        return self

    def train(self, mode: bool = True) -> CLIP:
        """Only `train(False)`."""
        if mode:
            raise NotImplementedError("clipway runs models; train with open_clip")
        return self

    def requires_grad_(self, requires_grad: bool = True) -> CLIP:
        """Only `requires_grad_(False)`."""
        return self.train(requires_grad)

    def to(self, device: Any = "cpu") -> CLIP:
        """Only the CPU."""
        if str(device) != "cpu":
            raise NotImplementedError(f"clipway runs on the CPU, not on `{device}`; `compute` of Model.load chooses its precision")
        return self


class Transform:
    """Normalized pixels of one PIL image, `[3, height, width]`."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def __call__(self, image: Any) -> Any:
        return _given(self.model.preprocess([image])[0])


class TokenIds:
    """Token ids of texts, `[texts, context_length]`."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.context_length = tokenizer.context_length

    def __call__(self, texts: str | Iterable[str], context_length: int | None = None) -> Any:
        if context_length not in (None, self.context_length):
            raise ValueError(f"expected the context length {self.context_length} of the model, found {context_length}")
        return _given(self.tokenizer.tokenize([texts] if isinstance(texts, str) else texts))


def _refuse_training(image: Any) -> Any:
    raise NotImplementedError("clipway has no training transform; use the last value for inference")


def create_model(model_name: StrPath, pretrained: StrPath | None = None, device: Any = "cpu", **options: Any) -> CLIP:
    """Loads a model. Further options are those of `clipway.Model.load`."""
    source, more = _source(model_name, pretrained)
    return CLIP(Model.load(source, **more, **options)).to(device)


def create_model_from_pretrained(
    model_name: StrPath,
    pretrained: StrPath | None = None,
    device: Any = "cpu",
    return_transform: bool = True,
    **options: Any,
) -> Any:
    """The model and its transform of images, or the model alone."""
    model = create_model(model_name, pretrained, device, **options)
    return (model, Transform(model.model)) if return_transform else model


def create_model_and_transforms(
    model_name: StrPath, pretrained: StrPath | None = None, device: Any = "cpu", **options: Any
) -> tuple[CLIP, Any, Transform]:
    """The model, a training transform that refuses to run, and the transform for inference."""
    model = create_model(model_name, pretrained, device, **options)
    return model, _refuse_training, Transform(model.model)


def get_tokenizer(model_name: StrPath, context_length: int | None = None, **options: Any) -> TokenIds:
    """The tokenizer of a model, which needs none of its weights."""
    name = os.fspath(model_name)
    tokenizer = TokenIds(Tokenizer.load(name.removeprefix("local-dir:"), **options))
    if context_length not in (None, tokenizer.context_length):
        raise ValueError(f"expected the context length {tokenizer.context_length} of the model, found {context_length}")
    return tokenizer
