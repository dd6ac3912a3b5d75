"""Runs every command and every script of `docs/guide.md`, in their order, with the package of this environment.

    pip install WHEEL --requirement python/requirements-recipes.txt
    cargo build -p clipway-hub --example fake_hub
    python scripts/check_guide.py target/debug/examples/fake_hub [--images 10000]

The checkpoint is the emoji model, the images are its pictures on backgrounds by chance, and the hub is one on this machine. The
ways to search must find the same images, and lions where lions are asked for.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[1]
EMOJI = ROOT / "examples" / "emoji-clip"


def draw_photos(place: pathlib.Path, count: int) -> None:
    """Pictures at random sizes on random backgrounds, some hundred in `a` and the rest in `b`; one in a thousand is broken."""
    random = np.random.default_rng(5)
    pictures = [(path.stem, Image.open(path).convert("RGBA")) for path in sorted((EMOJI / "pictures").glob("*.png"))]
    for folder in ("a", "b"):
        (place / folder).mkdir(parents=True)
    for number in range(count):
        name, picture = pictures[number % len(pictures)]
        color = tuple(int(value) for value in random.integers(120, 256, 3))
        back = Image.new("RGB", (96, 96), color)
        side = int(random.integers(64, 97))
        piece = picture.resize((side, side))
        corner = tuple(int(value) for value in random.integers(0, 97 - side, 2))
        back.paste(piece, corner, piece)
        path = place / ("a" if number < 240 else "b") / f"{name}-{number:05}.jpg"
        back.save(path, quality=92)
        if number % 1000 == 999:
            path.write_bytes(b"broken")


def blocks() -> list[tuple[str, str]]:
    """The code of the guide: its kind, and its text."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "docs" / "guide.md").read_text(), re.S | re.M)
    unknown = {kind for kind, _ in found} - {"console", "python"}
    if unknown or len(found) < 9:
        raise SystemExit(f"docs/guide.md: {len(found)} blocks of code, of unknown kinds: {sorted(unknown)}")
    return found


def words_of(kind: str, text: str) -> list[list[str]]:
    """The programs that a block runs."""
    import shlex

    if kind == "python":
        return [[sys.executable, "-c", text]]
    lines = text.splitlines()
    if any(not line.startswith("$ ") for line in lines):
        raise SystemExit(f"docs/guide.md: a line of a console is no command: {text}")
    programs = {"clipway": [sys.executable, "-m", "clipway"], "python": [sys.executable]}
    return [[*programs[words[0]], *words[1:]] for words in (shlex.split(line[2:]) for line in lines)]


def found_paths(said: str) -> list[str]:
    return [pathlib.Path(path).name for path in re.findall(r"[^\s'\"\[\],]+\.jpg", said)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fake_hub", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--without", action="append", default=[], metavar="WORD", help="leave out blocks that hold this, such as lancedb")
    arguments = parser.parse_args()
    hub = subprocess.Popen([arguments.fake_hub.resolve()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert hub.stdout is not None
    address, token = hub.stdout.readline().split()
    searched: list[tuple[str, list[str]]] = []
    ran = 0
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        draw_photos(place / "photos", arguments.images)
        shutil.copy(EMOJI / "emoji-clip.pt", place / "finetuned.pt")
        shutil.copy(EMOJI / "emoji-clip.json", place / "model.json")
        shutil.copy(ROOT / "python" / "recipes" / "ray_data.py", place)
        environment = os.environ | {"HF_ENDPOINT": address, "HF_TOKEN": token, "HF_HOME": str(place / "cache")}
        for kind, text in blocks():
            if any(word in text for word in arguments.without):
                print(f"left out: {text.strip().splitlines()[0]} …")
                continue
            for words in words_of(kind, text):
                start = time.monotonic()
                done = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True)
                said = "the script" if words[1] == "-c" else " ".join(words[words.index("clipway") if "clipway" in words else 1 :])
                print(f"{time.monotonic() - start:7.1f} s  {said}", flush=True)
                if done.returncode != 0:
                    raise SystemExit(f"ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
                ran += 1
                if "lion" in text and "search" in text or "argsort" in text:
                    if names := found_paths(done.stdout):
                        searched.append((said, names))
    hub.kill()
    problems = [f"{said}: {names}" for said, names in searched if len(names) != 5 or not all("lion" in name for name in names)]
    first = set(searched[0][1]) if searched else set()
    problems += [f"{said} finds {names}, not {sorted(first)}" for said, names in searched if set(names) != first]
    if len(searched) < 3 or problems:
        raise SystemExit(f"{len(searched)} searches; " + "\n".join(problems))
    print(f"{ran} programs ran; {len(searched)} searches found the same {len(first)} of {arguments.images} images")


if __name__ == "__main__":
    main()
