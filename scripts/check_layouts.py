#!/usr/bin/env python3
"""Takes models in other projects' layouts through clipway and compares what open_clip makes of them with their source.

    scripts/check_layouts.py CLIPWAY [--only WORD]

CLIPWAY is the binary. Models of several sizes with random weights are made by transformers (`CLIPModel`,
`SiglipModel`) and written as those projects save them, or in the names of OpenAI's code and of big_vision. Each is
inspected under a name that says nothing, exported for open_clip, loaded there with `local-dir:` and compared with its
source; where transformers can hold it, it is exported back and loaded by transformers. open_clip 3.3.0 does not know
`timm_model_kwargs`: where a config has it, open_clip is taught to hand it to timm first, and the line says so. Exit 1 if
a check fails. Needs PyTorch, open_clip 3.3, transformers 5 and timm.
"""
import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Optional

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy
import open_clip
import timm
import torch
import transformers

WORST = 1e-5
BLOCK = ["attn.in_proj_weight", "attn.in_proj_bias", "attn.out_proj.weight", "attn.out_proj.bias", "ln_1.weight",
         "ln_1.bias", "mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias", "ln_2.weight", "ln_2.bias"]


def teach_open_clip():
    """Lets open_clip hand `timm_model_kwargs` of a config to timm."""
    import open_clip.model as model

    @dataclasses.dataclass
    class VisionConfig(model.CLIPVisionCfg):
        timm_model_kwargs: Optional[dict] = None

    build, create = model._build_vision_tower, timm.create_model

    def build_with(embed_dim, vision_cfg, *rest, **named):
        config = VisionConfig(**vision_cfg) if isinstance(vision_cfg, dict) else vision_cfg
        more = config.timm_model_kwargs or {}
        plain = {field.name: getattr(config, field.name) for field in dataclasses.fields(model.CLIPVisionCfg)}
        timm.create_model = lambda name, **options: create(name, **{**options, **more})
        try:
            return build(embed_dim, model.CLIPVisionCfg(**plain), *rest, **named)
        finally:
            timm.create_model = create

    model._build_vision_tower = build_with


def randomize(model, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("logit_scale"):
                parameter.fill_(2.5)
            elif parameter.dim() > 1:
                parameter.normal_(0, parameter[0].numel() ** -0.5)
            else:
                is_scale = name.endswith("weight")
                parameter.normal_(1.0 if is_scale else 0.0, 0.1)
    return model.eval()


def clip(seed, activation, width, heads, text_width, text_heads, side, patch, end, folder):
    tower = dict(num_hidden_layers=2, hidden_act=activation)
    config = transformers.CLIPConfig(
        text_config=dict(hidden_size=text_width, intermediate_size=3 * text_width, num_attention_heads=text_heads,
                         vocab_size=500, max_position_embeddings=20, eos_token_id=end, bos_token_id=498, **tower),
        vision_config=dict(hidden_size=width, intermediate_size=2 * width, num_attention_heads=heads, image_size=side,
                           patch_size=patch, **tower),
        projection_dim=24)
    model = randomize(transformers.CLIPModel(config), seed)
    model.save_pretrained(folder)
    return model


def siglip(seed, activation, width, heads, side, patch, folder):
    tower = dict(num_hidden_layers=2, hidden_act=activation, hidden_size=width, num_attention_heads=heads)
    config = transformers.SiglipConfig(
        text_config=dict(intermediate_size=3 * width, vocab_size=500, max_position_embeddings=20, **tower),
        vision_config=dict(intermediate_size=2 * width, image_size=side, patch_size=patch, **tower))
    model = randomize(transformers.SiglipModel(config), seed)
    model.save_pretrained(folder)
    return model


def features(model, images, tokens):
    with torch.no_grad():
        if hasattr(model, "encode_image"):
            return model.encode_image(images), model.encode_text(tokens)
        found = model.get_image_features(pixel_values=images), model.get_text_features(input_ids=tokens)
    return tuple(getattr(one, "pooler_output", one) for one in found)


def openai(seed, layers, width, text_width, half, path):
    config = {"embed_dim": 24, "quick_gelu": True,
              "vision_cfg": {"image_size": 64, "layers": layers, "width": width, "patch_size": 16, "head_width": 64},
              "text_cfg": {"context_length": 20, "vocab_size": 500, "width": text_width, "heads": text_width // 64, "layers": 2}}
    if isinstance(layers, list):
        config["vision_cfg"].pop("patch_size")
    model = randomize(open_clip.CLIP(**config), seed)
    if half:
        model.half().float()
        model.load_state_dict({k: v.half().float() if v.is_floating_point() else v for k, v in model.state_dict().items()})
    own = model.state_dict()
    own.pop("attn_mask", None)
    def place(name):
        for index, leaf in enumerate(BLOCK):
            if name.endswith(leaf):
                return index
        return -1
    order = sorted(own, key=lambda name: (name.split("resblocks.")[0], name.split("resblocks.")[1].split(".")[0] if "resblocks." in name else "", place(name)))
    state = {name: own[name].half() if half and own[name].is_floating_point() else own[name] for name in order}
    state.update(input_resolution=torch.tensor(64), context_length=torch.tensor(20), vocab_size=torch.tensor(500))
    torch.save(state, path)
    return model


def big_vision(model, path, stacked):
    """Writes a SiglipModel in big_vision's names and axes."""
    state, out = {k: v.numpy() for k, v in model.state_dict().items()}, {}
    heads = model.config.vision_config.num_attention_heads
    def attention(target, source, fused=None):
        width = state[source + "out_proj.weight"].shape[0]
        for index, (theirs, ours) in enumerate((("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"))):
            weight = state[fused + "weight"][index * width:(index + 1) * width] if fused else state[f"{source}{theirs}.weight"]
            bias = state[fused + "bias"][index * width:(index + 1) * width] if fused else state[f"{source}{theirs}.bias"]
            out[f"{target}{ours}/kernel"] = weight.T.reshape(width, heads, -1)
            out[f"{target}{ours}/bias"] = bias.reshape(heads, -1)
        out[f"{target}out/kernel"] = state[source + "out_proj.weight"].T.reshape(heads, -1, width)
        out[f"{target}out/bias"] = state[source + "out_proj.bias"]
    def norm(target, source):
        out[target + "scale"], out[target + "bias"] = state[source + "weight"], state[source + "bias"]
    def linear(target, source):
        out[target + "kernel"], out[target + "bias"] = state[source + "weight"].T, state[source + "bias"]
    for tower, prefix in (("vision_model", "params/img/Transformer/"), ("text_model", "params/txt/Encoder_0/")):
        for index in range(2):
            block, source = f"{prefix}encoderblock_{index}/", f"{tower}.encoder.layers.{index}."
            attention(block + "MultiHeadDotProductAttention_0/", source + "self_attn.")
            norm(block + "LayerNorm_0/", source + "layer_norm1.")
            norm(block + "LayerNorm_1/", source + "layer_norm2.")
            for number in (0, 1):
                linear(f"{block}MlpBlock_0/Dense_{number}/", f"{source}mlp.fc{number + 1}.")
        norm(prefix + "encoder_norm/", f"{tower}." + ("post_layernorm." if tower == "vision_model" else "final_layer_norm."))
    head = "params/img/MAPHead_0/"
    out[head + "probe"] = state["vision_model.head.probe"]
    attention(head + "MultiHeadDotProductAttention_0/", "vision_model.head.attention.", "vision_model.head.attention.in_proj_")
    norm(head + "LayerNorm_0/", "vision_model.head.layernorm.")
    for number in (0, 1):
        linear(f"{head}MlpBlock_0/Dense_{number}/", f"vision_model.head.mlp.fc{number + 1}.")
    out["params/img/embedding/kernel"] = state["vision_model.embeddings.patch_embedding.weight"].transpose(2, 3, 1, 0)
    out["params/img/embedding/bias"] = state["vision_model.embeddings.patch_embedding.bias"]
    out["params/img/pos_embedding"] = state["vision_model.embeddings.position_embedding.weight"][None]
    out["params/txt/Embed_0/embedding"] = state["text_model.embeddings.token_embedding.weight"]
    out["params/txt/pos_embedding"] = state["text_model.embeddings.position_embedding.weight"][None]
    linear("params/txt/head/", "text_model.head.")
    out["params/t"], out["params/b"] = state["logit_scale"], state["logit_bias"]
    if stacked:
        blocks = [name for name in out if "encoderblock_0/" in name]
        for name in blocks:
            both = [out.pop(name.replace("encoderblock_0", f"encoderblock_{index}")) for index in range(2)]
            out[name.replace("encoderblock_0", "encoderblock")] = numpy.stack(both)
    numpy.savez(path, **out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clipway", type=Path)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    teach_open_clip()
    torch.set_num_threads(1)
    failed = []

    def check(name, right, detail):
        print(f"{'ok  ' if right else 'FAIL'} {name}: {detail}", flush=True)
        if not right:
            failed.append(name)

    def run(*arguments):
        return subprocess.run([options.clipway, *map(str, arguments)], capture_output=True, text=True)

    with tempfile.TemporaryDirectory() as root:
        root = Path(root)
        cases = []
        for index, sizes in enumerate((("gelu", 48, 4, 32, 2, 48, 16, 499), ("quick_gelu", 64, 2, 96, 3, 56, 14, 2),
                                       ("gelu_pytorch_tanh", 96, 3, 40, 5, 60, 12, 499))):
            cases.append((f"CLIPModel {index}", "transformers_clip", root / f"a{index}", True,
                          lambda path, index=index, sizes=sizes: clip(index, *sizes, path)))
        for index, sizes in enumerate((("gelu_pytorch_tanh", 64, 4, 48, 16), ("gelu", 96, 3, 56, 14))):
            cases.append((f"SiglipModel {index}", "transformers_siglip", root / f"b{index}", True,
                          lambda path, index=index, sizes=sizes: siglip(index, *sizes, path)))
        for index, sizes in enumerate(((2, 128, 64, False), (3, 64, 128, True), ([1, 2, 1, 1], 16, 64, False), ([1, 1, 1, 2], 32, 64, True))):
            cases.append((f"OpenAI {index}", "openai", root / f"c{index}.bin", False,
                          lambda path, index=index, sizes=sizes: openai(index, *sizes, path)))
        def flax(path, index, stacked):
            model = siglip(index, "gelu", 64, 2 + 2 * index, 48, 12, root / f"d{index}")
            big_vision(model, path, stacked)
            # open_clip's own has the tanh approximation in the text tower.
            for layer in model.text_model.encoder.layers:
                layer.mlp.activation_fn = torch.nn.GELU(approximate="tanh")
            return model
        for index, stacked in enumerate((False, True)):
            cases.append((f"big_vision {index}", "big_vision", root / f"e{index}.npz", False,
                          lambda path, index=index, stacked=stacked: flax(path, index, stacked)))
        for name, layout, source, can_return, make in cases:
            if options.only not in name:
                continue
            expected = make(source).eval()
            inspected = json.loads(run("inspect", source, "--json").stdout)
            check(f"{name}, layout", inspected["layout"]["name"] == layout, inspected["layout"]["name"])
            dry = run("export", source, "--dry-run")
            check(f"{name}, plan", dry.returncode == 0 and "ledger:" in dry.stdout, f"{len(dry.stdout.splitlines())} lines")
            out = root / f"out {name}"
            export = run("export", source, "--out", out)
            if export.returncode:
                check(f"{name}, export", False, export.stderr.strip())
                continue
            config = json.loads((out / "open_clip_config.json").read_text())["model_cfg"]
            taught = " (timm_model_kwargs)" if "timm_model_kwargs" in config["vision_cfg"] else ""
            found = open_clip.create_model(f"local-dir:{out}", precision="fp32").eval()
            torch.manual_seed(7)
            size = config["vision_cfg"]["image_size"]
            images = torch.randn(3, 3, size, size)
            tokens = torch.randint(1, 498, (3, config["text_cfg"]["context_length"]))
            tokens[torch.arange(3), torch.tensor([4, 9, tokens.shape[1] - 1])] = 499
            theirs = features(expected, images, tokens)
            for kind, a, b in zip(("image", "text"), features(found, images, tokens), theirs):
                worst = ((a - b).abs().max() / b.abs().max()).item()
                check(f"{name}, {kind} in open_clip{taught}", worst <= WORST, f"worst error {worst:.2e}")
            if can_return:
                back = root / f"back {name}"
                export = run("export", out, "--to", "transformers", "--out", back)
                check(f"{name}, back", export.returncode == 0, export.stderr.strip() or "exported")
                again = transformers.AutoModel.from_pretrained(back).eval()
                same = all(torch.equal(a, b) for a, b in zip(expected.state_dict().values(), again.state_dict().values()))
                check(f"{name}, back in transformers", same, "every tensor equal in every bit")
                for kind, a, b in zip(("image", "text"), features(again, images, tokens), theirs):
                    check(f"{name}, {kind} back", torch.equal(a, b), "features equal in every bit")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
