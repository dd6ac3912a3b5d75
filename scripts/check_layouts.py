#!/usr/bin/env python3
"""Takes models in every layout through clipway and compares the results in open_clip with the sources.

    scripts/check_layouts.py CLIPWAY [GOLDENS] [--only WORD]

CLIPWAY is the binary, GOLDENS a folder of sources with stored outputs (`goldens/layouts`). Sources of other sizes are
also made, with random weights (`layout_sources.py`). Each source is inspected, also under uninformative names, and its
plan is printed with a ledger that must balance. It is exported, and open_clip loads the folder with `local-dir:`; its
features are compared, and so are those of clipway's own engine. If open_clip 3.3.0 cannot load a folder, the artifact
must say so, and only then; the reference is then open_clip with the missing parts added (`layout_oracle.py`). If
transformers can hold a model, it is exported for it, loaded there, exported back and there again, bit for bit the same;
otherwise the export must be refused. Prints a table; exit 1 if a check fails. Needs PyTorch, open_clip 3.3,
transformers 5 and timm.
"""
import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Callable, Optional

os.environ["HF_HUB_OFFLINE"] = "1"

import open_clip
import torch
import transformers
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

import layout_oracle
import layout_sources as sources
from make_architecture_goldens import noise, weights

# Maximum error relative to the largest value, for fp32 and fp16 sources.
WORST, WORST_HALF = 1e-5, 2e-5
CANNOT = "open_clip 3.3.0 cannot load"
NAMELESS = ["weights.bin", "model.ckpt", "blob"]


@dataclasses.dataclass
class Case:
    """A source and its expected properties."""
    name: str
    layout: str
    # Name of the source, and the function that writes it and returns its model; no function if outputs are stored.
    source: str
    make: Callable[[Path], Optional[torch.nn.Module]]
    # Export options.
    options: list = dataclasses.field(default_factory=list)
    # Whether transformers can hold it, and whether OpenAI's code can.
    transformers: bool = False
    openai: bool = False
    # Whether it has branches to fold.
    folds: bool = False
    # Stored outputs.
    expected: Optional[Path] = None


def goldens(folder):
    """The sources in the folder of goldens, with their properties."""
    files, apple = folder / "files", folder / "apple"
    copy = lambda path: lambda to: shutil.copytree(path, to) and None if path.is_dir() else shutil.copy(path, to) and None
    for path in sorted(files.iterdir()):
        if path.name.endswith(".expected.safetensors") or path.suffix == ".json":
            continue
        expected = files / f"{path.stem.removesuffix('_state_dict')}.expected.safetensors"
        kind = path.name.split("_")[0]
        layout = {"openai": "openai", "big": "big_vision", "hf": "transformers_siglip" if "siglip" in path.name else "transformers_clip"}[kind]
        # Stored outputs of fp16 sources come from weights all rounded to fp16; the ResNet archive holds some in fp32.
        options = ["--precision", "fp16"] if "fp16" in path.name else []
        yield Case(f"golden {path.name}", layout, path.name, copy(path), options,
                   transformers="openai_rn" not in path.name, openai=kind == "openai", expected=expected)
    for path in sorted(apple.iterdir()):
        with safe_open(path, "pt") as file:
            listed = json.loads(file.metadata()["state_dict"])
        make = lambda to, listed=listed: sources.apple_listed(to, listed, weights, None)
        yield Case(f"golden apple/{path.stem}", "mobileclip", f"{path.stem}.pt", make, folds="mobileclip_s" in path.stem, expected=path)


def generated(folder):
    """Sources of other sizes."""
    for index, sizes in enumerate((("gelu", 48, 4, 32, 2, 48, 16, 499), ("quick_gelu", 64, 2, 96, 3, 56, 14, 2),
                                   ("gelu_pytorch_tanh", 96, 3, 40, 5, 60, 12, 499), ("quick_gelu", 32, 1, 64, 4, 32, 32, 499))):
        yield Case(f"CLIPModel {sizes[0]} {sizes[1]}/{sizes[3]}", "transformers_clip", f"a{index}",
                   lambda path, index=index, sizes=sizes: sources.clip(path, index, *sizes), transformers=True)
    for index, sizes in enumerate((("gelu_pytorch_tanh", 64, 4, 48, 16), ("gelu", 96, 3, 56, 14), ("gelu_pytorch_tanh", 32, 2, 32, 8, 3, 500, 4, 1e-3),
                                   ("gelu", 768, 12, 224, 16, 12, 2000, 4))):
        yield Case(f"SiglipModel {sizes[0]} {sizes[1]}", "transformers_siglip", f"b{index}",
                   lambda path, index=index, sizes=sizes: sources.siglip(path, index, *sizes), transformers=True)
    for index, (name, sizes) in enumerate((("ViT 128", (2, 128, 64, False)), ("ViT 64 fp16", (3, 64, 128, True)),
                                           ("ResNet 16", ([1, 2, 1, 1], 16, 64, False)), ("ResNet 32 fp16", ([1, 1, 1, 2], 32, 64, True)))):
        for kind, end in (("state dict", "bin"), ("archive", "pt")):
            yield Case(f"OpenAI {name} {kind}", "openai", f"c{index}.{end}", lambda path, index=index, sizes=sizes: sources.openai(path, index, *sizes),
                       transformers="ViT" in name, openai=True)
    for index, stacked in enumerate((False, True)):
        yield Case(f"big_vision{' stacked' if stacked else ''}", "big_vision", f"e{index}.npz",
                   lambda path, index=index, stacked=stacked: sources.big_vision(path, index, 2 + 2 * index, stacked), transformers=True)
    for index, name in enumerate(("MobileCLIP-S1", "MobileCLIP-S2")):
        yield Case(f"Apple {name}", "mobileclip", f"f{index}.pt", lambda path, index=index, name=name: sources.apple_fastvit(path, index, name), folds=True)
    if folder is not None:
        with safe_open(folder / "apple" / "mobileclip_b.safetensors", "pt") as file:
            listed = json.loads(file.metadata()["state_dict"])
        blt = lambda name, shape: weights(f"{name}.blt.{name.rsplit('.', 1)[-1]}", shape)
        for index, (name, options, more) in enumerate((("blt as Apple's code", [], {"timm_model_kwargs": {"stem_padding": 1, "norm_eps": 1e-5}}),
                                                       ("blt as open_clip's", ["--model", "MobileCLIP-B"], {}))):
            config = sources.open_clip.get_model_config("MobileCLIP-B")
            config["vision_cfg"].update(more)
            yield Case(f"Apple {name}", "mobileclip", f"g{index}.pt",
                       lambda path, config=config: sources.apple_listed(path, listed, blt, config), options)
    for index, oddity in enumerate(("GELU", "QuickGELU", "text. names", "position_ids", "1-d logit_scale", "linear patches", "split qkv", "attn_mask")):
        for end in ("safetensors", "pt"):
            layout = "open_clip_custom_text" if oddity == "text. names" else "open_clip"
            yield Case(f"open_clip {oddity} .{end}", layout, f"h{index}.{end}", lambda path, index=index, oddity=oddity: sources.open_clip_odd(path, index, oddity),
                       ["--model", f"h{index}.json"], transformers=True)
    for index, name in enumerate(("MobileCLIP2-S0",)):
        yield Case(f"open_clip {name} bare", "open_clip_custom_text", f"i{index}.safetensors",
                   lambda path, index=index, name=name: sources.open_clip_bare(path, index, name), folds=True)


def tensors(path):
    """Returns dtype and bytes of every tensor of a folder or file."""
    state = torch.load(path, weights_only=True) if path.suffix == ".pt" else load_file(next(path.glob("*.safetensors")))
    return {name: (tensor.dtype, tuple(tensor.shape), tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()) for name, tensor in state.items()}


class Check:
    """All checks of one case."""

    def __init__(self, clipway, root, case):
        self.clipway, self.root, self.case = clipway, root, case
        self.failed, self.told = [], []

    def run(self, *arguments):
        return subprocess.run([self.clipway, *map(str, arguments)], capture_output=True, text=True, cwd=self.root)

    def must(self, holds, what):
        if not holds:
            self.failed.append(what)
        return holds

    def layout(self, source):
        found = self.run("inspect", source, "--json")
        return json.loads(found.stdout)["layout"]["name"] if found.returncode == 0 else found.stderr.strip()

    def names(self, source):
        """Checks the recognized layout, under the usual name and uninformative ones."""
        found = self.layout(source)
        self.must(found == self.case.layout, f"layout {found}")
        file = next(source.glob("*.safetensors")) if source.is_dir() else source
        for index, name in enumerate(NAMELESS):
            place = self.root / f"nameless {index}"
            place.mkdir()
            os.link(file, place / name)
            found = self.layout(place / name)
            self.must(found == self.case.layout, f"layout of `{name}`: {found}")
            shutil.rmtree(place)

    def ledger(self, source):
        """Checks the plan, and a ledger that accounts for everything in the source."""
        dry = self.run("export", source, "--dry-run", *self.case.options)
        if not self.must(dry.returncode == 0 and "\nledger: " in dry.stdout, f"dry run: {dry.stderr.strip()}"):
            return
        told = json.loads(self.run("export", source, "--dry-run", "--json", *self.case.options).stdout)
        ledger = told["ledger"]
        of = lambda *fates: sum(group["tensors"] for group in ledger["groups"] if group["fate"] in fates)
        self.must(of("written", "consumed", "dropped") == ledger["source_tensors"], "ledger: sources")
        self.must(len(told["plan"]["tensors"]) == ledger["written_tensors"], "ledger: targets")
        self.told.append(f"{ledger['source_tensors']} -> {ledger['written_tensors']}")

    def inputs(self, config, model):
        """Returns images and tokens, and the expected features."""
        size = config["vision_cfg"]["image_size"]
        if self.case.expected is not None:
            stored = load_file(self.case.expected)
            images = torch.stack([torch.from_numpy(2 * noise(f"input.image.{index}", 3 * size * size)).float().reshape(3, size, size)
                                  for index in range(len(stored["image_features"]))])
            return images, stored["tokens"], (stored["image_features"], stored["text_features"])
        torch.manual_seed(7)
        length, vocabulary = config["text_cfg"]["context_length"], config["text_cfg"]["vocab_size"]
        images, tokens = torch.randn(3, 3, size, size), torch.randint(1, min(vocabulary, 498), (3, length))
        tokens[torch.arange(3), torch.tensor([4, 9, length - 1])] = 499 if vocabulary != 49408 else 49407
        return images, tokens, layout_oracle.features(model, images, tokens)

    def compare(self, what, found, expected):
        bound = WORST_HALF if "fp16" in self.case.name else WORST
        worst = max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(found, expected))
        self.must(worst <= bound, f"{what}: worst error {worst:.1e}")
        self.told.append(f"{what} {worst:.1e}")

    def all(self):
        case = self.case
        source = self.root / case.source
        model = case.make(source)
        self.names(source)
        self.ledger(source)
        out = self.root / "out"
        export = self.run("export", source, "--out", out, *case.options)
        if not self.must(export.returncode == 0, f"export: {export.stderr.strip()}"):
            return
        document = json.loads((out / "open_clip_config.json").read_text())
        config = document["model_cfg"]
        found, why = layout_oracle.load(out)
        artifact = json.loads((out / "clipway.json").read_text())
        says = any(CANNOT in note for note in artifact["notes"])
        self.must(says == (why is not None), f"open_clip as it is: {why or 'loads it'}; the artifact says it {'cannot' if says else 'can'}")
        self.told.append("taught" if why else "as it is")
        images, tokens, expected = self.inputs(config, model)
        self.compare("open_clip", layout_oracle.features(found, images, tokens), expected)
        self.engine(out, config, document["preprocess_cfg"], found)
        self.back(out, images, tokens, expected)
        if case.folds:
            self.fold(source, images, tokens, expected)
        if case.openai:
            self.there_and_back(out, "openai", "model.pt")

    def engine(self, out, config, preprocessing, model):
        """Compares an image, and a text if the tokenizer is CLIP's, between clipway and the oracle."""
        image = self.root / "image.png"
        torch.manual_seed(5)
        small = Image.fromarray(torch.randint(0, 256, (9, 7, 3), dtype=torch.uint8).numpy())
        small.resize((280, 360), Image.BICUBIC).save(image)
        text = ["a photo of two cats"] if config["text_cfg"]["vocab_size"] == 49408 else []
        embed = self.run("embed", out, image, *(["--text", *text] if text else []), "--json")
        if not self.must(embed.returncode == 0, f"embed: {embed.stderr.strip()}"):
            return
        ours = [torch.tensor(one["features"]) for one in json.loads(embed.stdout)]
        cfg = PreprocessCfg(**{"size": config["vision_cfg"]["image_size"], **preprocessing})
        pixels = image_transform_v2(cfg, is_train=False)(Image.open(image).convert("RGB"))[None]
        tokens = open_clip.tokenize(text or [""], context_length=config["text_cfg"]["context_length"])
        tokens = tokens if text else tokens.clamp(max=config["text_cfg"]["vocab_size"] - 1)
        theirs = layout_oracle.features(model, pixels, tokens)
        self.compare("clipway", ours, [one[0] for one in theirs[:len(ours)]])

    def back(self, out, images, tokens, expected):
        if not self.case.transformers:
            refused = self.run("export", out, "--to", "transformers", "--out", self.root / "refused")
            self.must(refused.returncode == 1 and "[inexpressible]" in refused.stderr and not (self.root / "refused").exists(), f"transformers: {refused.stderr.strip()}")
            self.told.append("transformers refused")
            return
        there = self.there_and_back(out, "transformers", "")
        if there is not None:
            loaded, report = transformers.AutoModel.from_pretrained(there, dtype=torch.float32, output_loading_info=True)
            self.must(not any(report.values()), f"transformers: {report}")
            self.compare("transformers", layout_oracle.features(loaded.eval(), images, tokens), expected)

    def fold(self, source, images, tokens, expected):
        """Checks the folded export, loaded as its README says, if open_clip has the model."""
        out = self.root / "folded"
        export = self.run("export", source, "--fold", "--out", out, *self.case.options)
        if not self.must(export.returncode == 0, f"fold: {export.stderr.strip()}"):
            return
        _, has_usage, usage = (out / "README.md").read_text().partition("```python\n")
        self.told.append("folded")
        if has_usage:
            names = {}
            exec(usage.split("```")[0].replace("PATH/TO/THIS/FOLDER", str(out)), names)
            self.compare("as its README says", layout_oracle.features(names["model"], images, tokens), expected)

    def there_and_back(self, out, target, file):
        """Exports to another project, back, and there again: every bit must match."""
        places = [self.root / f"{target} {step}" for step in ("there", "back", "again")]
        before = out
        for place, to in zip(places, (target, "open_clip", target)):
            export = self.run("export", before, "--to", to, "--out", place)
            if not self.must(export.returncode == 0, f"{place.name}: {export.stderr.strip()}"):
                return None
            before = place
        root = lambda found: {name.removeprefix("text."): value for name, value in found.items()}
        self.must(root(tensors(out)) == root(tensors(places[1])), f"{target} and back: other tensors")
        self.must(tensors(places[0] / file) == tensors(places[2] / file), f"{target} again: other tensors")
        self.told.append(f"{target} and back: same bits")
        return places[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clipway", type=Path)
    parser.add_argument("goldens", type=Path, nargs="?")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases = [*(goldens(options.goldens) if options.goldens else ()), *generated(options.goldens)]
    cases = [case for case in cases if options.only in case.name]
    failed = 0
    for case in cases:
        with tempfile.TemporaryDirectory() as root:
            check = Check(options.clipway.resolve(), Path(root), case)
            try:
                check.all()
            except Exception as error:  # an error in the oracle fails only this case
                check.failed.append(f"{type(error).__name__}: {error}")
        failed += bool(check.failed)
        print(f"{'FAIL' if check.failed else 'ok  '} {case.name} | {' | '.join(check.told)}", *check.failed, sep="\n       ", flush=True)
    print(f"{len(cases) - failed} of {len(cases)} sources as they must be")
    sys.exit(bool(failed) or not cases)


if __name__ == "__main__":
    main()
