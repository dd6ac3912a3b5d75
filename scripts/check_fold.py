#!/usr/bin/env python3
"""Compares the output of `clipway export --fold` with timm's own reparameterization.

    scripts/check_fold.py CLIPWAY [TRUNK ...]

For each FastViT trunk (by default MobileCLIP's, `fastvit_mci0` to `fastvit_mci4`), a model with formula weights is
written in open_clip's form, exported folded, and loaded strictly by the model after
`timm.utils.reparameterize_model`; both are run in double precision. Prints one line per trunk: the largest relative
difference of a tensor from timm's, and of the features from the trained form's; exit 1 if one is too large. Needs
torch, timm, open_clip 3.3.0 and safetensors, and no network.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from timm.utils import reparameterize_model

import make_architecture_goldens as goldens

TRUNKS = [f"fastvit_mci{size}" for size in range(5)]
SIDE = 256
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
PREPROCESS = {"mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "bilinear", "resize_mode": "shortest"}
# One f32 rounding of sums for tensors; for features, as many roundings as there are layers.
MOST_OF_TENSORS, MOST_OF_FEATURES = 1e-6, 4e-6


def difference(found, expected):
    return ((found.double() - expected.double()).abs().max() / expected.double().abs().max().clamp_min(1e-30)).item()


def check(clipway, trunk, folder):
    vision = goldens.timm(trunk, "avg", None, SIDE)
    config = {"embed_dim": 64, "vision_cfg": vision, "text_cfg": dict(TEXT), "custom_text": True}
    model = goldens.build(config)
    source, folded = folder / "trained", folder / "folded"
    source.mkdir()
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, source / "open_clip_model.safetensors", metadata={"format": "pt"})
    described = {"model_cfg": config, "preprocess_cfg": PREPROCESS}
    (source / "open_clip_config.json").write_text(json.dumps(described))
    command = [clipway, "export", source, "--out", folded, "--fold", "--quiet"]
    subprocess.run(command, check=True)

    images = goldens.make_images(SIDE, SIDE, 1).double()
    with torch.no_grad():
        expected = model.double().visual(images)
        model.float().visual.trunk = reparameterize_model(model.visual.trunk)
        theirs = {name: value.clone() for name, value in model.state_dict().items()}
        ours = load_file(folded / "open_clip_model.safetensors")
        model.load_state_dict(ours, strict=True)
        tensors = max(difference(ours[name], value) for name, value in theirs.items())
        features = difference(model.double().visual(images), expected)
    passed = tensors <= MOST_OF_TENSORS and features <= MOST_OF_FEATURES
    print(f"{'ok  ' if passed else 'FAIL'} {trunk}: tensors {tensors:.1e}, features {features:.1e}", flush=True)
    return passed


def main():
    clipway, *trunks = sys.argv[1:]
    results = []
    for trunk in trunks or TRUNKS:
        with tempfile.TemporaryDirectory() as folder:
            results.append(check(clipway, trunk, Path(folder)))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
