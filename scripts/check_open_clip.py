#!/usr/bin/env python3
"""Compares a folder exported by clipway with its source, both run by open_clip.

    scripts/check_open_clip.py DIR SOURCE MODEL [--image-size N] [--context-length N] [--least COSINE]

DIR is loaded the way users do it, `create_model_from_pretrained('local-dir:DIR')`, offline. SOURCE is a checkpoint
that open_clip's own loader reads, MODEL its registered name or config file. The features of random images and texts are
compared; the weight files of DIR are also loaded with `torch.load(weights_only=True)` and `safetensors`. Prints one
line per check; exit 1 if one fails. Needs PyTorch, open_clip 3.3 and safetensors.
"""
import argparse
import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import open_clip
import torch
from open_clip.factory import load_checkpoint
from safetensors.torch import load_file


def source_model(source, model, image_size, context_length):
    sizes = {"force_image_size": image_size, "force_context_length": context_length}
    if not model.endswith(".json"):
        return open_clip.create_model(model, pretrained=source, **sizes)
    folder = Path(model).resolve()
    open_clip.add_model_config(folder)
    built = open_clip.create_model(folder.stem, **sizes)
    load_checkpoint(built, source)
    return built


def features(model, images, tokens):
    model.eval()
    with torch.no_grad():
        return model.encode_image(images).double(), model.encode_text(tokens).double()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dir", type=Path)
    parser.add_argument("source")
    parser.add_argument("model")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--context-length", type=int)
    parser.add_argument("--least", type=float, default=0.999999)
    options = parser.parse_args()
    failed = []

    def check(name, right, detail):
        print(f"{'ok  ' if right else 'FAIL'} {name}: {detail}")
        if not right:
            failed.append(name)

    expected = source_model(options.source, options.model, options.image_size, options.context_length)
    names = set(expected.state_dict())
    loaders = {
        "open_clip_model.safetensors": load_file,
        "open_clip_pytorch_model.bin": lambda path: torch.load(path, weights_only=True),
    }
    loaded = {}
    for name, load in loaders.items():
        if (options.dir / name).exists():
            loaded[name] = load(options.dir / name)
            check(name, set(loaded[name]) == names, f"{len(loaded[name])} tensors")
    if len(loaded) == 2:
        first, second = loaded.values()
        same = all(torch.equal(first[k], second[k]) and first[k].dtype == second[k].dtype for k in first)
        check("both files", same, "the same tensors")

    found, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{options.dir}")
    check("quick_gelu", "quick_gelu" in json.loads((options.dir / "open_clip_config.json").read_text())["model_cfg"],
          "stated in open_clip_config.json")
    torch.manual_seed(0)
    size = found.visual.image_size
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    images = torch.randn(4, 3, height, width)
    tokenizer = open_clip.get_tokenizer(f"local-dir:{options.dir}")
    tokens = tokenizer(["a photo of a cat", "two red hearts", "", "rocket " * 100])
    pairs = zip(("image", "text"), features(found, images, tokens), features(expected, images, tokens))
    for kind, ours, theirs in pairs:
        cosine = torch.nn.functional.cosine_similarity(ours, theirs).min().item()
        worst = ((ours - theirs).abs().max() / theirs.abs().max()).item()
        check(f"{kind} features", cosine >= options.least, f"least cosine {cosine:.9f}, worst error {worst:.2e}")
    scale = abs(found.logit_scale.item() - expected.logit_scale.item())
    check("logit scale", scale <= 1e-2, f"differs by {scale:.2e}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
