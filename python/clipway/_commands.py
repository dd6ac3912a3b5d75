"""Commands of the command line as functions.

What a command takes is defined once, by its own arguments: `--image-mean 0 0 0` is `image_mean=[0, 0, 0]` here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Union

from clipway import _clipway

StrPath = Union[str, "os.PathLike[str]"]
Value = Union[StrPath, int, float]
Option = Union[Value, bool, Sequence[Value], None]


def inspect(source: StrPath, **options: Option) -> dict[str, Any]:
    """Says what a checkpoint is: format, layout, tensors, model, and every setting that affects the features.

    Returns what `clipway inspect --json` prints. No pickle is executed, and weights are not read.
    """
    return dict(_clipway.command("inspect", [source], options))


def export(source: StrPath, out: StrPath | None = None, **options: Option) -> Any:
    """Writes a folder that gives the same features as the source, which is verified before it is moved into place.

    Returns what `clipway export --json` prints: files, sizes, contract and verification. An export that fails its
    verification raises ClipwayError and leaves nothing behind.
    """
    return _clipway.command("export", [source], {"out": out, **options})


def verify(folder: StrPath, against: StrPath | None = None, **options: Option) -> dict[str, Any]:
    """Checks an exported folder against its hashes, or against its source by running both.

    Returns the report that `clipway verify --json` prints. A folder that differs raises ClipwayError with the code
    `verification`, whose `details` are the report.
    """
    return dict(_clipway.command("verify", [folder], {"against": against, **options}))


def load_options() -> str:
    """The keyword arguments of `Model.load`, one paragraph each."""
    return _clipway.command_help("load") or ""


for _function in (inspect, export, verify):
    _options = "\n".join(f"    {line}" for line in (_clipway.command_help(_function.__name__) or "").splitlines())
    _function.__doc__ = f"{_function.__doc__}\n    Keyword arguments:\n\n{_options}\n"
