"""Checks `clipway mix` against the same sum in PyTorch: bit for bit, in f64 and rounded once.

Makes random variations of the demo model, mixes them with clipway and with PyTorch, and compares every tensor. f16 and
bf16 are rounded from f64 at once, by NumPy and by hand, since PyTorch goes through f32.

With the folder of an XLM-R's tokenizer it also puts an image tower of CLIP together with an XLM-R as text tower, loads the
result in open_clip, and compares the features with those of the two sources there, bit for bit.

    python scripts/check_mix.py --clipway target/release/clipway [--tokenizer DIR]
"""

import argparse
import pathlib
import subprocess
import tempfile

import numpy as np
import torch
from safetensors.torch import load_file

from small_models import open_clip_folder, rows_of, text_model, working_in

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


TEXTS = ["a photo of a cat", "zwei Hunde im Schnee", "山の上の城", "un château"]


def features(folder: pathlib.Path, place: pathlib.Path) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Features of random pixels and of texts, and the logit scale, by open_clip in a working folder."""
    import open_clip

    with working_in(place):
        model = open_clip.create_model(f"local-dir:{folder}").eval()
        tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    torch.manual_seed(3)
    pixels = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        return model.encode_image(pixels), model.encode_text(tokenizer(TEXTS)), model.logit_scale.item()


def pairs(clipway: str, tokenizer: pathlib.Path, folder: pathlib.Path) -> None:
    """An image tower of CLIP with a multilingual text tower, and the same with a trimmed vocabulary."""
    student = text_model("xlm-roberta", rows_of(tokenizer), pad_token_id=1, bos_token_id=0, eos_token_id=2, type_vocab_size=1)
    tower = {"hf_model_name": "small", "hf_tokenizer_name": "small", "hf_pooler_type": "mean_pooler", "context_length": 24}
    image, text = folder / "image", folder / "text"
    open_clip_folder(image, {"context_length": 24, "width": 64, "heads": 4, "layers": 2}, None, init_logit_scale=3.0)
    open_clip_folder(text, tower, tokenizer, student, init_logit_scale=2.0, seed=8)
    images, _, scale = features(image, image)
    _, texts, _ = features(text, text)
    chosen = folder / "texts.txt"
    chosen.write_text("\n".join(TEXTS) + "\n")
    for name, options in [("whole", []), ("trimmed", ["--vocabulary-from", chosen])]:
        out = folder / f"pair-{name}"
        command = [clipway, "mix", "--image-from", image, "--text-from", text, "--logit-scale-from", "image", "--out", out]
        subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)
        # A trimmed text model is described in the folder itself, any other one where its source has it.
        found = features(out, out if options else text)
        differ = [(one - two).abs().max().item() for one, two in zip(found[:2], (images, texts))]
        print(f"pair, {name}: image features differ by {differ[0]}, text features by {differ[1]}, scale {found[2]} of {scale}")
        assert differ == [0.0, 0.0] and found[2] == scale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clipway", required=True)
    parser.add_argument("--tokenizer", type=pathlib.Path, help="folder of an XLM-R's tokenizer")
    arguments = parser.parse_args()
    clipway = str(pathlib.Path(arguments.clipway).resolve())
    if arguments.tokenizer:
        with tempfile.TemporaryDirectory() as folder:
            pairs(clipway, arguments.tokenizer.resolve(), pathlib.Path(folder))
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
