"""Compares clipway with each source's own library, from strings and files to features: `check_oracle.py CLIPWAY [--fast]`.

Every source is run by clipway as it is and as the folders that `clipway export` makes of it. The worst cosine of any text or
image is printed for each with its name; all must be 0.99999 or more. What the library of an exported folder reads otherwise
than the source's own is printed beside it, and a note of the artifact must say so: texts by name, images by the worst.
"""
import argparse
import json
import random
import re
import subprocess
import tempfile
from pathlib import Path

import numpy
import torch
from compare_transformers_pixels import image
from safetensors import safe_open

from oracle_siblings import SIBLINGS
from oracle_sources import SOURCES, of_transformers, open_clip_reading

LEAST = 0.99999

ODD = ["the dog’s ball", "“quoted” — dash…", "salt &amp; pepper", "&lt;b&gt;bold&lt;/b&gt; &amp;amp; done", "ﬁne ﬂour", "Ａｂｃ １２", "schÃ¶n",
       "naïve cafe\u0301", "A Photo. Of a CAT!", "it's a t-shirt, size 3.5!", "ΟΔΥΣΣΕΥΣ ΣΙΣΥΦΟΣ", "İstanbul IŞIK", "ß SS ẞ", "👩‍👩‍👧‍👦 family 🇩🇪",
       "東京タワー 漢字", "a\u00a0b\u2003c", "two  spaces\tand a tab", "snake_case and_more", "don't I'LL they'Ve",
       "<|startoftext|> a", "1234567890", "½ ② Ⅷ ㎏", "שלום", "مرحبا", "हिन्दी", "ไทย", "e" * 120, "#hash @at $5 100%", "a-b—c–d", "e\u0301\u0323", "!", "", " ",
       # Every class's special tokens, as a text may contain them.
       "a </s> b", "</s>", "<s> x</s>y", "<unk>", "a<unk>b <pad> c", "[CLS] a [SEP] b[PAD]", "[MASK] photo [UNK]", "<mask> a", "<bos>a<eos> b",
       "a <|endoftext|> b<|startoftext|>", "<extra_id_0> cat", "<END> <Pad> </S>"]


def texts(count, seed=1):
    """Odd texts, then drawn ones of odd parts: quotes, ligatures, references, full stops, capitals, emoji."""
    draw = random.Random(seed)
    words = ["a", "photo", "of", "the", "cat", "Dog", "CAT.", "dog’s", "it's", "“red”", "&amp;", "&quot;x&quot;", "ﬁsh", "naïve", "日本", "猫🐈", "3.5",
             "e-mail", "snake_case", "ÉCOLE", "Σας", "…", "—", "ﬀ", "ＡＢ", "don't", "&#39;", "🙂", "x²", "ver", "very", "blu", "toto", "photo"]
    drawn = []
    while len(drawn) < count:
        line = draw.choice([" ", " ", " ", "  "]).join(draw.choices(words, k=draw.randint(1, 14)))
        if draw.random() < 0.2:
            line = "".join(chr(draw.choice([draw.randint(32, 126), draw.randint(160, 0x24f), draw.randint(0x370, 0x3ff), draw.randint(0x2010, 0x2040)]))
                           for _ in range(draw.randint(1, 20))) + " " + line
        drawn.append(draw.choice(["", "", "", " "]) + line)
    return (ODD + drawn)[:max(count, len(ODD))]


def images(count, folder, seed=1):
    """Files of drawn images, of odd sizes, modes and encodings."""
    folder.mkdir()
    paths = []
    for index in range(count):
        suffix, data = image(numpy.random.default_rng([seed, 0, index]), index)
        paths.append(folder / f"{index:05}.{suffix}")
        paths[-1].write_bytes(data)
    return paths


def embed(clipway, source, options, place, *inputs):
    """What `clipway embed` writes: its metadata and its tensors."""
    out = place / "features.safetensors"
    command = [clipway, "embed", source, *options, *inputs, "--out", out, "--force", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    if not out.exists():
        raise SystemExit(f"{' '.join(map(str, command[:6]))}: {done.stderr}")
    with safe_open(out, "pt") as file:
        found = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}
    out.unlink()
    return found


def embedded_texts(clipway, source, items, options, place):
    (place / "texts.txt").write_text("".join(f"{text}\n" for text in items), encoding="utf8")
    return embed(clipway, source, options, place, "--texts-file", place / "texts.txt")[1]["text_features"]


def embedded_images(clipway, source, paths, options, place):
    metadata, found = embed(clipway, source, options, place, *paths)
    refused = {str(path) for path in paths} - set(json.loads(metadata["files"]))
    if refused:
        raise SystemExit(f"{source}: images that its library takes are refused: {sorted(refused)}")
    return found["image_features"]


def worst(expected, found, names):
    """The smallest cosine, and what has it; normalized or not, both are compared as directions."""
    cosines = torch.nn.functional.cosine_similarity(expected.double(), found.double())
    at = int(torch.nan_to_num(cosines, nan=-1.0).argmin())
    return float(cosines[at]), names[at]


class Check:
    """One source against its own library, and each of its exports against the library that the folder is for."""

    def __init__(self, clipway, name, source, items, paths, place):
        self.clipway, self.name, self.source, self.place = clipway, name, source, place
        self.items, self.problems = items, []
        if not source.refused:
            self.texts = source.reading.texts(items)
            self.paths, self.images = source.reading.images(paths)

    def compare(self, what, kind, expected, found, told=None):
        """Prints the worst; it must be near enough, or else what is `told` must be true."""
        cosine, which = worst(expected, found, self.items if kind == "texts" else [path.name for path in self.paths])
        is_near = cosine >= LEAST
        beside = "" if is_near or told is None else " (told)" if told else " (NOT told)"
        print(f"{self.name}, {what}: smallest cosine {cosine:.7f} of {len(expected)} {kind}, {which!r}{beside}", flush=True)
        if not is_near and not told:
            self.problems.append(f"{self.name}, {what}: {cosine:.5f} of {which!r}")
        return is_near

    def refused(self):
        """The export must be refused with the source's code, and write nothing."""
        out = self.place / "refused"
        done = subprocess.run([self.clipway, "export", self.source.path, "--out", out], capture_output=True, text=True)
        code = f"[{self.source.refused}]"
        if done.returncode == 0 or code not in done.stderr or out.exists():
            self.problems.append(f"{self.name}: not refused with {code}: {done.stderr.strip()[:160]}")
        print(f"{self.name}: refused: {' '.join(done.stderr.split())[:160]}", flush=True)

    def own(self):
        path, options = self.source.path, self.source.options
        self.compare("the source", "texts", self.texts, embedded_texts(self.clipway, path, self.items, options, self.place))
        self.compare("the source", "images", self.images, embedded_images(self.clipway, path, self.paths, options, self.place))

    def exported(self, target):
        out = self.place / f"out-{target}"
        command = [self.clipway, "export", self.source.path, *self.source.options, "--to", target, "--out", out, "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            # What a target cannot hold is refused; for open_clip every source here can be written.
            is_refusal = target != "open_clip" and "[inexpressible]" in done.stderr
            print(f"{self.name}, to {target}: refused: {done.stderr.strip()[:160]}")
            self.problems += [] if is_refusal else [f"{self.name}, to {target}: {done.stderr.strip()}"]
            return
        notes = json.loads((out / "clipway.json").read_text())["notes"]
        found_texts = embedded_texts(self.clipway, out, self.items, [], self.place)
        found_images = embedded_images(self.clipway, out, self.paths, [], self.place)
        try:
            library = of_transformers(out) if target == "transformers" else open_clip_reading(out)
        except Exception as error:
            says = any(f"{target} 3.3.0 cannot load" in note for note in notes)
            print(f"{self.name}, to {target}: its library cannot load it{' (told)' if says else ''}: {str(error)[:100]}")
            self.problems += [] if says else [f"{self.name}, to {target}: {error}"]
            self.compare(f"to {target}, by clipway", "texts", self.texts, found_texts)
            return
        texts, (paths, images) = library.texts(self.items), library.images(self.paths)
        if paths != self.paths:
            raise SystemExit(f"{self.name}, to {target}: the libraries refuse different images")
        # Texts of an export for open_clip stay the source's; everything else is the library's own.
        stays = self.texts if target == "open_clip" else texts
        self.compare(f"to {target}, by clipway", "texts", stays, found_texts)
        self.compare(f"to {target}, by clipway", "images", images, found_images)
        named = [note for note in notes if "reads some texts differently" in note]
        same = self.compare(f"to {target}, by its library", "texts", self.texts, texts, bool(named))
        pixels = any("preprocesses images like" in note for note in notes)
        self.compare(f"to {target}, by its library", "images", self.images, images, pixels)
        if self.source.cleaned and target == "open_clip" and not same:
            self.problems.append(f"{self.name}: open_clip reads its own export otherwise")
        for text in (text for note in named for text in re.findall("`([^`]*)`", note)):
            if worst(self.source.reading.texts([text]), library.texts([text]), [text])[0] > 1 - 1e-9:
                self.problems.append(f"{self.name}, to {target}: a note names {text!r}, which is read alike")


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("clipway", type=Path)
    arguments.add_argument("--texts", type=int, default=2000)
    arguments.add_argument("--images", type=int, default=200)
    arguments.add_argument("--only", help="sources whose name contains a match of this regular expression")
    arguments.add_argument("--siblings", action="store_true", help="folders of transformers with other tokenizers, in place of the layouts")
    arguments.add_argument("--fast", action="store_true", help="the odd texts and some drawn ones, and 24 images")
    arguments = arguments.parse_args()
    items = texts(100 if arguments.fast else arguments.texts)
    problems = []
    with tempfile.TemporaryDirectory() as drawn:
        paths = images(24 if arguments.fast else arguments.images, Path(drawn) / "images")
        for name, make in (SIBLINGS if arguments.siblings else SOURCES).items():
            if arguments.only and not re.search(arguments.only, name):
                continue
            with tempfile.TemporaryDirectory() as place:
                check = Check(arguments.clipway.absolute(), name, make(Path(place)), items, paths, Path(place))
                print(f"{name}: judged by {check.source.judge}")
                if check.source.refused:
                    check.refused()
                else:
                    check.own()
                    for target in check.source.targets:
                        check.exported(target)
                problems += check.problems
    for problem in problems:
        print(f"FAILED {problem}")
    raise SystemExit(1 if problems else 0)


if __name__ == "__main__":
    main()
