"""Compares clipway with each source's own library, from strings to features: `check_oracle.py CLIPWAY [--texts N] [--fast]`.

Every source is run by clipway as it is and as the folder that `clipway export` makes of it. The worst cosine of any text is
printed for each with the text; all must be 0.99999 or more. What open_clip reads otherwise in an export is printed beside
it, and must be told in the artifact.
"""
import argparse
import json
import random
import subprocess
import tempfile
from pathlib import Path

import open_clip
import torch
from safetensors.torch import load_file

from layout_oracle import load
from oracle_sources import SOURCES

LEAST = 0.99999

ODD = ["the dog’s ball", "“quoted” — dash…", "salt &amp; pepper", "&lt;b&gt;bold&lt;/b&gt; &amp;amp; done", "ﬁne ﬂour", "Ａｂｃ １２", "schÃ¶n",
       "naïve cafe\u0301", "A Photo. Of a CAT!", "it's a t-shirt, size 3.5!", "ΟΔΥΣΣΕΥΣ ΣΙΣΥΦΟΣ", "İstanbul IŞIK", "ß SS ẞ", "👩‍👩‍👧‍👦 family 🇩🇪",
       "東京タワー 漢字", "a\u00a0b\u2003c", "two  spaces\tand a tab", "snake_case and_more", "don't I'LL they'Ve",
       "<|startoftext|> a", "1234567890", "½ ② Ⅷ ㎏", "שלום", "مرحبا", "हिन्दी", "ไทย", "e" * 120, "#hash @at $5 100%", "a-b—c–d", "e\u0301\u0323", "!"]


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
        # `--texts-file` cuts white space at the ends of lines.
        drawn.append(line.strip() or "a")
    return (ODD + drawn)[:max(count, len(ODD))]


def embedded(clipway, source, items, options, place):
    (place / "texts.txt").write_text("".join(f"{text}\n" for text in items), encoding="utf8")
    out = place / "features.safetensors"
    subprocess.run([clipway, "embed", source, *options, "--texts-file", place / "texts.txt", "--out", out, "--force", "--quiet"], check=True)
    return load_file(out)["text_features"]


def worst(expected, found, items):
    """The smallest cosine, and the text that has it; normalized or not, both are compared as directions."""
    cosines = torch.nn.functional.cosine_similarity(expected.double(), found.double())
    at = int(cosines.argmin())
    return float(cosines[at]), items[at]


def check(clipway, name, make, items, place):
    source = make(place)
    expected = source.texts(items)
    problems = []

    def compare(what, path, options):
        cosine, text = worst(expected, embedded(clipway, path, items, options, place), items)
        print(f"{name}, {what}: smallest cosine {cosine:.7f} of {len(items)} texts", flush=True)
        if not cosine >= LEAST:
            problems.append(f"{name}, {what}: {cosine:.5f} of {text!r}")

    compare("the source", source.path, source.options)
    out = place / "out"
    subprocess.run([clipway, "export", source.path, *source.options, "--out", out, "--force", "--quiet"], check=True)
    compare("its export", out, [])
    try:
        model, why = load(out)
        tokenizer = open_clip.get_tokenizer(f"local-dir:{out}")
    except Exception as error:  # open_clip cannot load every folder; the artifact tells it
        print(f"{name}: not loaded by open_clip: {str(error)[:100]}")
        return problems
    with torch.no_grad():
        by_open_clip = torch.cat([model.encode_text(tokenizer(items[at:at + 256])) for at in range(0, len(items), 256)])
    cosine, text = worst(expected, by_open_clip, items)
    told = any("open_clip 3.3.0 reads" in note for note in json.loads((out / "clipway.json").read_text())["notes"])
    print(f"{name}, its export in open_clip: smallest cosine {cosine:.7f}, {text!r}{' (told)' if told else ''}")
    if cosine < LEAST and not told:
        problems.append(f"{name}: open_clip reads {text!r} otherwise ({cosine:.5f}), which no note tells")
    if source.cleaned and cosine < LEAST:
        problems.append(f"{name}: open_clip reads its own export otherwise: {cosine:.5f} of {text!r}")
    return problems


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("clipway", type=Path)
    arguments.add_argument("--texts", type=int, default=2000)
    arguments.add_argument("--only", help="sources whose name holds this")
    arguments.add_argument("--fast", action="store_true", help="the odd texts and some drawn ones")
    arguments = arguments.parse_args()
    items = texts(100 if arguments.fast else arguments.texts)
    problems = []
    for name, make in SOURCES.items():
        if arguments.only and arguments.only not in name:
            continue
        with tempfile.TemporaryDirectory() as place:
            problems += check(arguments.clipway.absolute(), name, make, items, Path(place))
    for problem in problems:
        print(f"FAILED {problem}")
    raise SystemExit(1 if problems else 0)


if __name__ == "__main__":
    main()
