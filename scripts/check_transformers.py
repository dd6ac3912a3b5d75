#!/usr/bin/env python3
"""Compares a folder exported by clipway for transformers with its source, run by open_clip.

    scripts/check_transformers.py DIR SOURCE [MODEL] [--worst ERROR]

DIR is loaded with `AutoModel.from_pretrained` and `AutoProcessor.from_pretrained`, offline. SOURCE is a folder that
open_clip loads, or a checkpoint that its loader reads with MODEL, a registered name or config file. The features of
random images and texts, the tokenizers' token ids and the processors' pixels are compared (pixels within rounding:
transformers resizes with another library). Prints one line per check; exit 1 if one fails. Needs PyTorch, open_clip 3.3
and transformers 5.
"""
import argparse
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy
import open_clip
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from check_open_clip import source_model

TEXTS = ["a photo of a cat", "two red hearts", "rocket " * 100]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dir", type=Path)
    parser.add_argument("source")
    parser.add_argument("model", nargs="?")
    parser.add_argument("--worst", type=float, default=1e-5)
    options = parser.parse_args()
    failed = []

    def check(name, right, detail):
        print(f"{'ok  ' if right else 'FAIL'} {name}: {detail}")
        if not right:
            failed.append(name)

    if options.model:
        expected = source_model(options.source, options.model, None, None)
    else:
        expected = open_clip.create_model(f"local-dir:{options.source}")
    expected.eval()
    found, report = AutoModel.from_pretrained(options.dir, dtype=torch.float32, output_loading_info=True)
    found.eval()
    problems = {key: value for key, value in report.items() if value}
    check("loads", not problems, f"{type(found).__name__}, {problems or 'every tensor in its place'}")

    torch.manual_seed(0)
    size = expected.visual.image_size
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    images = torch.randn(4, 3, height, width)
    vocabulary = found.config.text_config.vocab_size
    length = found.config.text_config.max_position_embeddings
    if vocabulary == 49408:
        tokens = open_clip.tokenize(TEXTS, context_length=length)
    else:
        tokens = torch.randint(0, vocabulary - 1, (4, length))
        tokens[torch.arange(4), torch.randint(2, length, (4,))] = vocabulary - 1
    with torch.no_grad():
        ours = found.get_image_features(pixel_values=images), found.get_text_features(input_ids=tokens)
        theirs = expected.encode_image(images), expected.encode_text(tokens)
    for kind, ours, theirs in zip(("image", "text"), ours, theirs):
        ours = getattr(ours, "pooler_output", ours)
        worst = ((ours - theirs).abs().max() / theirs.abs().max()).item()
        check(f"{kind} features", worst <= options.worst, f"worst error {worst:.2e}")
    scale = abs(found.logit_scale.item() - expected.logit_scale.item())
    check("logit scale", scale <= 1e-6, f"differs by {scale:.2e}")
    if vocabulary == 49408:
        ids = AutoTokenizer.from_pretrained(options.dir)(TEXTS, truncation=True, max_length=length)["input_ids"]
        same = all(row[: len(own)].tolist() == own for row, own in zip(tokens, ids))
        check("token ids", same, f"of {len(TEXTS)} texts, but for padding")
    if options.model is None:
        _, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{options.source}")
        noise = numpy.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=numpy.uint8)
        image = Image.fromarray(noise).resize((320, 240), Image.BICUBIC)
        ours = AutoImageProcessor.from_pretrained(options.dir)(image, return_tensors="pt")["pixel_values"][0]
        worst = (ours - preprocess(image)).abs().max().item()
        check("pixels", ours.shape == (3, height, width) and worst < 0.03, f"worst difference {worst:.3f}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
