#!/usr/bin/env python3
"""Makes the checkpoints of this folder: small ones in the forms in which trainers save them.

Needs PyTorch. Every tensor is [2], f32, filled with a number that identifies its part of the checkpoint.
"""
import io
import zipfile
from pathlib import Path

import torch

HERE = Path(__file__).parent


def weights(prefix, value, names=("visual.proj", "logit_scale")):
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
    "best_model.pt": {"epoch": 3, "model": weights("module.", 1), "best_model": weights("", 2), "optimizer": optimizer()},
    "generator.pt": {"generator": weights("", 1), "g_ema": weights("", 2)},
    "nested.pt": {"checkpoint": {"model": weights("", 1), "best": weights("model.", 2)}, "epoch": 3},
    "discriminator.pt": {"model": weights("", 1), "discriminator": weights("net.", 2, ["head.weight", "logit_scale"])},
    "optimizer_only.pt": {"optimizer": optimizer(), "epoch": 3},
    "beside.pt": {"state_dict": weights("", 1), "queue": torch.zeros(4), "loss": {"weight": torch.zeros(2)}},
}
for name, checkpoint in checkpoints.items():
    torch.save(checkpoint, HERE / name)


class Traced(torch.nn.Module):
    """A model whose trace contains a constant tensor next to those of its state dict."""

    def __init__(self):
        super().__init__()
        self.visual = torch.nn.Module()
        for module, name in ((self.visual, "proj"), (self, "logit_scale")):
            module.register_buffer(name, torch.full((2,), 1.0))

    def forward(self, x):
        return x * self.visual.proj * self.logit_scale + torch.tensor([3.0, 4.0])


# The archive without the debug entries, which contain paths of the machine that made it.
archive = io.BytesIO()
torch.jit.save(torch.jit.trace(Traced(), torch.zeros(2)), archive)
with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(HERE / "traced.pt", "w") as part:
    for entry in whole.infolist():
        if not entry.filename.endswith(".debug_pkl"):
            part.writestr(zipfile.ZipInfo(entry.filename.replace("archive/", "traced/", 1)), whole.read(entry))
