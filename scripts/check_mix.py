"""Checks `clipway mix` against the same sum in PyTorch: bit for bit, in f64 and rounded once.

Makes random variations of the demo model, mixes them with clipway and with PyTorch, and compares every tensor. f16 and
bf16 are rounded from f64 at once, by NumPy and by hand, since PyTorch goes through f32.

    python scripts/check_mix.py --clipway target/release/clipway
"""

import argparse
import pathlib
import subprocess
import tempfile

import numpy as np
import torch
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEMO = ROOT / "examples" / "emoji-clip"
CASES = [
    ("two, f32", [0.7, 0.3], [torch.float32] * 2, None),
    ("three, f32", [0.5, 0.25, 0.25], [torch.float32] * 3, None),
    ("extrapolated, f32", [1.5, -0.5], [torch.float32] * 2, None),
    ("thirds, f32", [1 / 3] * 3, [torch.float32] * 3, None),
    ("two, f16", [0.7, 0.3], [torch.float16] * 2, None),
    ("two, bf16", [0.7, 0.3], [torch.bfloat16] * 2, None),
    ("f16 with f32", [0.7, 0.3], [torch.float16, torch.float32], None),
    ("f32 to f16", [0.7, 0.3], [torch.float32] * 2, "fp16"),
    ("f32 to bf16", [0.7, 0.3], [torch.float32] * 2, "bf16"),
]


def rounded(total: torch.Tensor, dtype: torch.dtype) -> np.ndarray:
    """The bits of f64 values rounded once, to nearest with ties to even."""
    values = total.numpy()
    if dtype == torch.float32:
        return values.astype(np.float32).view(np.uint32)
    if dtype == torch.float16:
        return values.astype(np.float16).view(np.uint16)
    # bf16 has f32's exponents and 8 bits of precision: round f64's 53 bits to 8.
    bits = values.view(np.uint64)
    step = np.uint64(52 - 7)
    half = (np.uint64(1) << (step - np.uint64(1))) - np.uint64(1)
    even = (bits >> step) & np.uint64(1)
    exact = (((bits + half + even) >> step) << step).view(np.float64)
    smallest = np.abs(values) < 2.0**-126
    assert not (smallest & (values != 0)).any(), "subnormal values need another rounding"
    return (exact.astype(np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clipway", required=True)
    clipway = parser.parse_args().clipway
    torch.manual_seed(1)
    demo = torch.load(DEMO / "emoji-clip.pt", map_location="cpu", weights_only=True)
    demo = demo.get("state_dict", demo)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for number, (name, shares, dtypes, precision) in enumerate(CASES):
            sources, words = [], []
            for part, (share, dtype) in enumerate(zip(shares, dtypes)):
                noise = lambda value: value + 0.01 * part * torch.randn_like(value)
                source = {key: noise(value.float()).to(dtype) for key, value in demo.items() if value.is_floating_point()}
                path = folder / f"{number}-{part}.pt"
                torch.save(source, path)
                sources.append(source)
                words.append(f"{path}:{share!r}")
            out = folder / f"{number}-out"
            options = ["--precision", precision] if precision else []
            command = [clipway, "mix", *words, "--model", DEMO / "emoji-clip.json", "--out", out, *options]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            found = load_file(out / "open_clip_model.safetensors")
            kept = dtypes[0] if len(set(dtypes)) == 1 else torch.float32
            kept = {"fp16": torch.float16, "bf16": torch.bfloat16, None: kept}[precision]
            compared = unlike = 0
            for key, tensor in found.items():
                assert tensor.dtype == kept, (key, tensor.dtype)
                key = next(spelling for spelling in (key, f"module.{key}") if spelling in sources[0])
                total = torch.zeros_like(sources[0][key], dtype=torch.float64)
                for share, source in zip(shares, sources):
                    product = source[key].double() * share
                    total = total + product
                kind = torch.int32 if kept == torch.float32 else torch.int16
                bits = tensor.view(kind).numpy().view(np.uint32 if kept == torch.float32 else np.uint16)
                unlike += int((bits != rounded(total, kept)).sum())
                compared += tensor.numel()
            assert compared > 0 and len(found) > 100
            print(f"{name}: {len(found)} tensors, {compared} values, {unlike} differ")
            assert unlike == 0
        print("all mixes are equal bit for bit")


if __name__ == "__main__":
    main()
