"""open_clip as the reference for models in other projects' layouts, extended where it lacks something.

open_clip 3.3.0 does not know two keys that clipway writes when the source is not an open_clip model: a timm tower's
`timm_model_kwargs`, and `rep_mixer_cfg` of MobileCLIP-S0's text tower. `taught` is open_clip with both.
"""
import contextlib
import dataclasses
import json
from pathlib import Path

import open_clip
import open_clip.model
import timm
import torch
from safetensors.torch import load_file
from torch import nn


class ConvNorm(nn.Module):
    """A convolution without bias, and its batch norm."""

    def __init__(self, width, kernel):
        super().__init__()
        self.conv = nn.Conv2d(width, width, kernel, padding=(0, kernel[1] // 2), groups=width, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x):
        return self.bn(self.conv(x))


class Branches(nn.Module):
    """The sum of several convolutions of one input, as trained."""

    def __init__(self, width, kernel, convolutions):
        super().__init__()
        self.identity = nn.BatchNorm2d(width)
        self.conv_kxk = nn.ModuleList(ConvNorm(width, kernel) for _ in range(convolutions))

    def forward(self, x):
        return self.identity(x) + sum(branch(x) for branch in self.conv_kxk)


class Scale(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width, 1, 1))


class RepMixer(nn.Module):
    def __init__(self, width, kernel):
        super().__init__()
        self.norm, self.mixer, self.layer_scale = Branches(width, kernel, 0), Branches(width, kernel, 1), Scale(width)

    def forward(self, x):
        return x + self.layer_scale.gamma * (self.mixer(x) - self.norm(x))


class ConvMlp(nn.Module):
    def __init__(self, width, hidden, kernel):
        super().__init__()
        self.conv, self.fc1, self.fc2 = ConvNorm(width, kernel), nn.Conv2d(width, hidden, 1), nn.Conv2d(hidden, width, 1)

    def forward(self, x):
        return self.fc2(nn.functional.gelu(self.fc1(self.conv(x))))


class RepMixerBlock(nn.Module):
    """A block of MobileCLIP-S0's text tower, which treats a text as a map of height 1."""

    def __init__(self, width, hidden, kernel):
        super().__init__()
        self.token_mixer, self.mlp = RepMixer(width, kernel), ConvMlp(width, hidden, kernel)
        self.layer_scale = Scale(width)

    def get_weight_dtype(self):
        return self.mlp.fc1.weight.dtype

    def forward(self, x, **_):
        x = self.token_mixer(x.transpose(1, 2).unsqueeze(2))
        x = x + self.layer_scale.gamma * self.mlp(x)
        return x.squeeze(2).transpose(1, 2)


def plain(config, cls):
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(cls)}


@contextlib.contextmanager
def taught():
    """Teaches open_clip the two keys, within this context."""
    model = open_clip.model
    vision_class, text_class = model.CLIPVisionCfg, model.CLIPTextCfg
    build_vision, build_text, create = model._build_vision_tower, model._build_text_tower, timm.create_model

    def vision(embed_dim, vision_cfg, *rest, **named):
        config = dict(vision_cfg)
        more = config.pop("timm_model_kwargs", {})
        padding, epsilon = more.pop("stem_padding", None), more.pop("norm_eps", None)
        timm.create_model = lambda name, **options: create(name, **{**options, **more})
        try:
            tower = build_vision(embed_dim, vision_class(**config), *rest, **named)
        finally:
            timm.create_model = create
        if padding is not None:
            tower.trunk.patch_embed.backbone[0].conv.padding = (padding, padding)
        for norm in tower.trunk.modules() if epsilon is not None else ():
            if isinstance(norm, nn.LayerNorm):
                norm.eps = epsilon
        return tower

    def text(embed_dim, text_cfg, *rest, **named):
        config = dict(text_cfg)
        mixers = config.pop("rep_mixer_cfg", None)
        tower = build_text(embed_dim, text_class(**config), *rest, **named)
        for layer in mixers["layers"] if mixers else ():
            hidden = round(config["width"] * config["mlp_ratio"])
            tower.transformer.resblocks[layer] = RepMixerBlock(config["width"], hidden, (1, mixers["kernel"]))
        return tower

    model._build_vision_tower, model._build_text_tower = vision, text
    try:
        yield
    finally:
        model._build_vision_tower, model._build_text_tower = build_vision, build_text


def load(folder):
    """Returns the model of an exported folder, and stock open_clip's error for it, `None` if it loads."""
    try:
        return open_clip.create_model(f"local-dir:{folder}", precision="fp32").eval(), None
    except Exception as error:  # open_clip has no dedicated error for unknown keys
        why = str(error)
    config = json.loads((Path(folder) / "open_clip_config.json").read_text())["model_cfg"]
    custom = config.pop("custom_text", False)
    with taught():
        model = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config)
    weights = load_file(Path(folder) / "open_clip_model.safetensors")
    model.load_state_dict({name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in weights.items()})
    return model.eval(), why


def features(model, images, tokens):
    """Returns the features of both towers, by open_clip's or transformers' names."""
    with torch.no_grad():
        if hasattr(model, "encode_image"):
            return model.encode_image(images), model.encode_text(tokens)
        found = model.get_image_features(pixel_values=images), model.get_text_features(input_ids=tokens)
    return tuple(getattr(one, "pooler_output", one) for one in found)
