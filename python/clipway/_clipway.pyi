"""Types of the extension module."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol, final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Model", "Tokenizer", "__version__", "_reload", "command", "command_help", "main"]

__version__: str

class _ArrowArray(Protocol):
    def __arrow_c_array__(self, requested_schema: Any = None) -> Any: ...

class _ArrowStream(Protocol):
    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...

class _PilImage(Protocol):
    @property
    def mode(self) -> str: ...
    @property
    def size(self) -> tuple[int, int]: ...
    def tobytes(self) -> bytes: ...

_Image = bytes | bytearray | memoryview | str | os.PathLike[str] | _PilImage | NDArray[np.uint8]
_Images = Iterable[_Image] | NDArray[np.uint8] | _ArrowArray | _ArrowStream
_Option = str | os.PathLike[str] | int | float | bool | Sequence[str | os.PathLike[str] | int | float] | None

@final
class Model:
    @staticmethod
    def load(
        source: str | os.PathLike[str],
        *,
        towers: Literal["both", "image", "text"] = "both",
        threads: int | None = None,
        compute: Literal["f32", "bf16", "int8"] | None = None,
        verify: Literal["hashes", "none"] = "none",
        **options: _Option,
    ) -> Model: ...
    def encode_image(
        self,
        images: _Images,
        *,
        normalize: bool = True,
        batch_size: int = 32,
        out: NDArray[np.float32] | None = None,
        on_error: Literal["raise", "nan"] | Callable[[int, Exception], object] = "raise",
        progress: Callable[[int, int | None], object] | bool | None = None,
    ) -> NDArray[np.float32]: ...
    def encode_text(
        self,
        texts: Iterable[str],
        *,
        normalize: bool = True,
        batch_size: int = 256,
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]: ...
    def preprocess(self, images: _Images) -> NDArray[np.float32]: ...
    def tokenize(self, texts: Iterable[str]) -> NDArray[np.int64]: ...
    def encode_pixels(self, pixels: NDArray[np.float32], *, normalize: bool = True) -> NDArray[np.float32]: ...
    def encode_tokens(self, tokens: NDArray[np.int64], *, normalize: bool = True) -> NDArray[np.float32]: ...
    def classify(
        self, images: _Images, labels: Iterable[str], templates: Iterable[str] | None = None
    ) -> NDArray[np.float32]: ...
    @property
    def dims(self) -> int: ...
    @property
    def image_size(self) -> tuple[int, int]: ...
    @property
    def context_length(self) -> int: ...
    @property
    def logit_scale(self) -> float: ...
    @property
    def logit_bias(self) -> float | None: ...
    @property
    def fingerprint(self) -> str | None: ...
    @property
    def threads(self) -> int: ...
    @property
    def info(self) -> dict[str, Any]: ...

@final
class Tokenizer:
    @staticmethod
    def load(source: str | os.PathLike[str], **options: _Option) -> Tokenizer: ...
    def tokenize(self, texts: Iterable[str]) -> NDArray[np.int64]: ...
    @property
    def context_length(self) -> int: ...

def command(name: str, paths: Sequence[str | os.PathLike[str]], options: dict[str, _Option] | None = None) -> Any: ...
def command_help(name: str) -> str | None: ...
def main(arguments: Sequence[str]) -> int: ...
def _reload(source: str, keywords: dict[str, Any]) -> Model: ...
