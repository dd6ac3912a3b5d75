#!/usr/bin/env python3
"""Writes NAME.json.gz: the config, parameter count and state dict of open_clip models.

    python scripts/make_manifests.py crates/clipway-testing/data/manifests ViT-B-32 RN50x4 …

Needs torch and open_clip 3.3.0. No weights are created: the models live on PyTorch's meta device.
"""

import gzip
import json
import sys
from pathlib import Path

import open_clip
import torch


def main():
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        with torch.device("meta"):
            model = open_clip.create_model(name, device="meta", load_weights=False, pretrained_text=False)
        manifest = {
            "model": name,
            "config": open_clip.get_model_config(name),
            "params": sum(p.numel() for p in model.parameters()),
            "state_dict": [
                [key, str(value.dtype).removeprefix("torch."), list(value.shape)]
                for key, value in model.state_dict().items()
            ],
        }
        text = json.dumps(manifest).encode()
        (folder / f"{name}.json.gz").write_bytes(gzip.compress(text, 9, mtime=0))


if __name__ == "__main__":
    main()
