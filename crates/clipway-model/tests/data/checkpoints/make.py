#!/usr/bin/env python3
"""Makes the checkpoints of this folder: small ones in the forms in which trainers save them.

Needs PyTorch. Every tensor is [2], f32, filled with the number that its place in the checkpoint has.
"""
from pathlib import Path

import torch

HERE = Path(__file__).parent


def weights(prefix, value):
    names = ["visual.proj", "logit_scale"]
    return {prefix + name: torch.full((2,), float(value)) for name in names}


def optimizer():
    moments = {"step": torch.tensor(3.0), "exp_avg": torch.zeros(2), "exp_avg_sq": torch.zeros(2)}
    return {"state": {0: moments, 1: dict(moments)}, "param_groups": [{"lr": 1e-3, "params": [0, 1]}]}


checkpoints = {
    "open_clip.pt": {"epoch": 3, "name": "run", "state_dict": weights("module.", 1), "optimizer": optimizer(),
                     "scaler": {"scale": 65536.0, "_growth_tracker": 0}},
    "timm_ema.pt": {"epoch": 3, "arch": "clip", "state_dict": weights("", 1), "optimizer": optimizer(),
                    "state_dict_ema": weights("", 2)},
    "averaged.pt": {"model": weights("_orig_mod.module.", 1),
                    "model_ema": {"n_averaged": torch.tensor(7), **weights("module.", 2)}},
    "only_ema.pt": {"model_ema": weights("", 2), "epoch": 1},
    "lightning.pt": {"state_dict": weights("model.", 1), "optimizer_states": [optimizer()], "lr_schedulers": []},
    "two_models.pt": {"model": weights("", 1), "net": weights("", 2)},
    "unknown_name.pt": {"clip": weights("", 1), "args": {"lr": 1e-3}},
    "optimizer_only.pt": {"optimizer": optimizer(), "epoch": 3},
    "beside.pt": {"state_dict": weights("", 1), "queue": torch.zeros(4), "loss": {"weight": torch.zeros(2)}},
}
for name, checkpoint in checkpoints.items():
    torch.save(checkpoint, HERE / name)
