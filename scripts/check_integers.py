#!/usr/bin/env python3
"""Measures what int8 and int4 cost on the demo model, and reads their folders as docs/format.md describes them.

    scripts/check_integers.py CLIPWAY EMOJI

EMOJI is the demo model's folder (`emoji-clip.pt`, its config, pictures and open_clip's features). The model is exported
in int8 and int4. Each folder is widened here by NumPy and run by open_clip, and embedded by clipway. Beside them stands
plain rounding: to -7 to 7 in groups of 32, the furthest value at 7. Prints for each the mean and the least cosine with
open_clip's f32 features, the pictures whose best label stays, and the size. Exit 1 if clipway's features in f32 are not
those of the widened weights, or if int4 costs more than plain rounding. Needs PyTorch, open_clip 3.3 and safetensors.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.numpy import load_file

GROUP = 32
COMPUTED = [[], ["--compute", "f32"], ["--compute", "bf16"], ["--compute", "int8"]]


def widened(folder):
    """The weights of clipway's folder in f32, by open_clip's names."""
    stored = load_file(folder / "clipway_model.safetensors")
    weights = {}
    for name, values in stored.items():
        base = name.removesuffix(".group_scale").removesuffix(".scale")
        if base != name and base in stored:
            continue
        scales = stored.get(f"{name}.scale")
        groups = stored.get(f"{name}.group_scale")
        if values.dtype == np.int8:
            values = values.astype(np.float32) * scales.reshape(-1, *[1] * (values.ndim - 1))
        elif values.dtype == np.uint8:
            rows, rest = len(scales), values.shape[1:]
            nibbles = np.stack([values & 15, values >> 4], axis=1).reshape(2 * len(values), *rest)[:rows]
            signed = (nibbles.astype(np.int8) ^ 8) - 8
            scale = groups.astype(np.float32) * scales[:, None]
            flat = signed.reshape(rows, groups.shape[1], -1).astype(np.float32) * scale[:, :, None]
            values = flat.reshape(rows, *rest)
        weights[name] = torch.from_numpy(values.copy())
    return weights


def plain(weights, names):
    """The weights with each group rounded to -7 to 7, and its furthest value kept."""
    rounded = dict(weights)
    for name in names:
        groups = weights[name].reshape(-1, GROUP)
        scale = groups.abs().amax(1, keepdim=True).clamp_min(1e-30) / 7
        rounded[name] = ((groups / scale).round() * scale).reshape(weights[name].shape)
    return rounded


def run(*command):
    subprocess.run(command, check=True)


def embedded(clipway, folder, pictures, texts, options):
    """What clipway computes of pictures and texts."""
    with tempfile.TemporaryDirectory() as place:
        lines, out = Path(place) / "texts", Path(place) / "features.safetensors"
        lines.write_text("\n".join(texts) + "\n")
        run(clipway, "embed", folder, *pictures, "--texts-file", lines, "--normalize", "--out", out, "--quiet", *options)
        found = load_file(out)
    return [torch.from_numpy(found[f"{kind}_features"]).double() for kind in ("image", "text")]


def main():
    clipway, emoji = sys.argv[1], Path(sys.argv[2])
    expected = load_file(emoji / "expected.safetensors")
    labels = json.loads((emoji / "expected.json").read_text())
    pictures = [emoji / "pictures" / picture["file"] for picture in labels["pictures"]]
    texts = [template.format(picture["label"]) for template in labels["templates"] for picture in labels["pictures"]]
    open_clip.add_model_config(emoji / "emoji-clip.json")
    model, _, preprocess = open_clip.create_model_and_transforms("emoji-clip", pretrained=str(emoji / "emoji-clip.pt"))
    model.eval()
    original = {name: value.clone() for name, value in model.state_dict().items()}
    pixels = torch.stack([preprocess(Image.open(picture)) for picture in pictures])
    tokens = torch.from_numpy(expected["tokens"].astype(np.int64)).reshape(-1, expected["tokens"].shape[-1])

    def features(weights):
        model.load_state_dict(weights, strict=False)
        with torch.no_grad():
            pair = model.encode_image(pixels), model.encode_text(tokens)
        return [torch.nn.functional.normalize(each.double(), dim=1) for each in pair]

    def best(images, texts):
        classes = texts.reshape(expected["text_features"].shape).mean(0)
        return (images @ torch.nn.functional.normalize(classes, dim=1).T).argmax(1)

    base = features(original)
    stored = torch.from_numpy(expected["image_features"]).double()
    assert (torch.nn.functional.normalize(stored, dim=1) * base[0]).sum(1).min() > 0.999999, "another model"
    losses = {}

    def report(name, found, size):
        cosines = [(a * b).sum(1) for a, b in zip(base, found)]
        losses[name] = sum(1 - each.mean().item() for each in cosines)
        same = (best(*found) == best(*base)).sum().item()
        shown = "; ".join(
            f"{kind} mean {each.mean():.6f}, least {each.min():.6f}" for kind, each in zip(("images", "texts"), cosines)
        )
        print(f"{name}: {shown}; best label {same} of {len(pictures)}; {size}")

    failed = False
    with tempfile.TemporaryDirectory() as place:
        for precision in ("int8", "int4"):
            out = Path(place) / precision
            run(clipway, "export", emoji / "emoji-clip.pt", "--model", emoji / "emoji-clip.json", "--to", "clipway",
                "--precision", precision, "--out", out, "--quiet")
            weights = widened(out)
            found = features(weights)
            report(precision, found, f"{(out / 'clipway_model.safetensors').stat().st_size / 1e6:.2f} MB")
            for compute in COMPUTED:
                ours = embedded(clipway, out, pictures, texts, compute)
                least = min((a * b).sum(1).min().item() for a, b in zip(found, ours))
                report(f"  by clipway {' '.join(compute)}", ours, f"least cosine with the widened {least:.7f}")
                failed |= compute == ["--compute", "f32"] and least < 0.999999
            plain_folder = Path(place) / f"{precision}-f32"
            run(clipway, "export", out, "--to", "open_clip", "--precision", "fp32", "--out", plain_folder, "--quiet")
            exported = load_file(plain_folder / "open_clip_model.safetensors")
            same = all(np.array_equal(exported[name], value.numpy()) for name, value in weights.items())
            print(f"  exported in fp32: {'the same numbers' if same else 'OTHER NUMBERS'}")
            failed |= not same
            if precision == "int4":
                names = [name.removesuffix(".group_scale") for name in load_file(out / "clipway_model.safetensors")
                         if name.endswith(".group_scale")]
                report("plain", features(plain(original, names)), f"groups of {GROUP}")
    failed |= losses["int4"] >= losses["plain"]
    sys.exit(failed)


if __name__ == "__main__":
    main()
