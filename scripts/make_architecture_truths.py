#!/usr/bin/env python3
"""Computes double-precision truths for whole-model goldens that hold only single precision.

    python scripts/make_architecture_truths.py GOLDENS crates/clipway-testing/data/truths mt5-base-ViT-B-32

Needs torch, transformers 5 and open_clip 3.3.0, and no network. PyTorch's own f32 error is the yardstick for ours; for
a golden without a truth, that error is unknown.
"""

import json
import sys
from pathlib import Path

import open_clip
import torch
import transformers
from safetensors import safe_open

import make_architecture_goldens as goldens


def text_model_of(text_cfg):
    name = text_cfg.get("hf_model_name")
    return None if name is None else transformers.AutoConfig.for_model(**goldens.known_text_model(name))


def main():
    source, target, *names = sys.argv[1:]
    goldens.text_model_of = text_model_of
    for name in names:
        with safe_open(f"{source}/{name}.safetensors", "pt") as golden:
            metadata, tokens = golden.metadata(), golden.get_tensor("tokens")
            single = {key: golden.get_tensor(key) for key in golden.keys() if golden.get_tensor(key).is_floating_point()}
        config = json.loads(metadata["config"])
        height, width = goldens.sides(json.loads(metadata["image_size"]))
        images = goldens.make_images(height, width, 2)
        model = goldens.build(config).double()
        truth = goldens.outputs(model, images.double(), tokens)
        for key, value in truth.items():
            error = (single[key] - value).abs().max() / value.abs().max()
            print(f"{name} {key}: PyTorch's f32 is {error:.2e} off")
        tensors = {"tokens": tokens, **{f"{key}_f64": value for key, value in truth.items()}}
        kept = {"config": metadata["config"], "open_clip": open_clip.__version__, "torch": torch.__version__}
        goldens.write_safetensors(Path(target) / f"{name}.safetensors", tensors, kept)


if __name__ == "__main__":
    main()
