"""Models for the tests: the repository's own, and small ones of other families with random weights."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import clipway

ROOT = pathlib.Path(__file__).parents[2]
EMOJI = ROOT / "examples" / "emoji-clip"
PICTURES = sorted((EMOJI / "pictures").glob("*.png"))
TEXTS = ["a lion", "an emoji of a snail", "", "ünïcode 日本 🦁", "two dogs run over the wet grass"]

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "patch_size": 16, "width": 64, "head_width": 32, "layers": 1}
FAMILIES: dict[str, dict[str, Any]] = {
    "vit": {"embed_dim": 16, "quick_gelu": True, "vision_cfg": VISION, "text_cfg": TEXT},
    "resnet": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None},
        "text_cfg": TEXT,
    },
    "siglip": {
        "embed_dim": 16,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": VISION,
        "text_cfg": {**TEXT, "no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
    },
}


def write_safetensors(path: pathlib.Path, tensors: dict[str, np.ndarray]) -> None:
    """Writes tensors as the format is defined."""
    names = {np.dtype("float32"): "F32", np.dtype("int64"): "I64"}
    header, start = {}, 0
    for name, tensor in tensors.items():
        end = start + tensor.nbytes
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(tensor.tobytes() for tensor in tensors.values()))


def small_model(place: pathlib.Path, config: dict[str, Any]) -> pathlib.Path:
    """A folder with random weights. Their names and shapes come from the refusal of a file that lacks them."""
    place.mkdir()
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3}
    (place / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    weights, random = place / "open_clip_model.safetensors", np.random.default_rng(7)

    def drawn(shape: list[int]) -> np.ndarray:
        return np.asarray(random.normal(scale=0.1, size=shape), dtype=np.float32)

    prefix = "text." if config.get("custom_text") else ""
    tensors = {f"{prefix}positional_embedding": drawn([16, 32]), "visual.conv1.weight": drawn([1])}
    write_safetensors(weights, tensors)
    with pytest.raises(clipway.ClipwayError) as refused:
        clipway.Model.load(place)
    assert refused.value.code == "mismatch"
    for difference in refused.value.details["differences"]:
        name, shape = difference["name"], difference.get("shape", difference.get("expected"))
        if difference["kind"] == "unused":
            del tensors[name]
            continue
        tensors[name] = drawn(shape)
        if name.endswith("running_var"):
            tensors[name] = np.abs(tensors[name]) + np.float32(0.5)
        elif name.endswith("num_batches_tracked"):
            tensors[name] = np.zeros(shape, dtype=np.int64)
    write_safetensors(weights, tensors)
    return place


def command_line(*arguments: Any) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own: `CLIPWAY_PROGRAM`, or the one of this package."""
    program = os.environ.get("CLIPWAY_PROGRAM")
    words = [program] if program else [sys.executable, "-m", "clipway"]
    return subprocess.run([*words, *map(str, arguments)], capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="session")
def emoji(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The exported emoji model."""
    out = tmp_path_factory.mktemp("emoji") / "model"
    clipway.export(EMOJI / "emoji-clip.pt", out, model=EMOJI / "emoji-clip.json")
    return out


@pytest.fixture(scope="session")
def model(emoji: pathlib.Path) -> clipway.Model:
    """The emoji model on one thread."""
    return clipway.Model.load(emoji, threads=1)


@pytest.fixture(scope="session", params=["emoji", *FAMILIES])
def folder(request: pytest.FixtureRequest, emoji: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A model of each family."""
    if request.param == "emoji":
        return emoji
    return small_model(tmp_path_factory.mktemp(request.param) / "model", FAMILIES[request.param])
