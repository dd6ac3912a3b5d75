"""Small models with random weights, made by their own libraries: what the checks of operations compare."""

import contextlib
import json
import os
import pathlib
import shutil

import torch
from safetensors.torch import save_file

VISION = {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16}


@contextlib.contextmanager
def working_in(folder: pathlib.Path):
    here = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)


def randomized(model: torch.nn.Module, seed: int = 7) -> torch.nn.Module:
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def open_clip_folder(place: pathlib.Path, text: dict, tokenizer: pathlib.Path | None, small: dict | None = None, seed: int = 7, **more) -> None:
    """A folder of open_clip with random weights. `small` describes a text model of transformers, which open_clip finds in a
    folder of its name in the working folder."""
    import open_clip

    place.mkdir()
    for path in tokenizer.iterdir() if tokenizer else []:
        shutil.copy(path, place / path.name)
    if small:
        (place / "small").mkdir()
        (place / "small" / "config.json").write_text(json.dumps(small))
    config = {"embed_dim": 32, "vision_cfg": VISION, "text_cfg": text, **more}
    document = {"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (place / "open_clip_config.json").write_text(json.dumps(document))
    with working_in(place):
        model = randomized(open_clip.create_model("local-dir:.", load_weights=False, pretrained_text=False), seed)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, place / "open_clip_model.safetensors")


def rows_of(tokenizer: pathlib.Path) -> int:
    import transformers

    return len(transformers.AutoTokenizer.from_pretrained(tokenizer))


def text_model(kind: str, rows: int, **more) -> dict:
    """The description of a small text model."""
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 66}
    return {"model_type": kind, "vocab_size": rows, **({} if kind == "mt5" else sizes), **more}
