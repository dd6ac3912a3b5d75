"""Runs the recipes of `python/recipes` for real: images of which one in a hundred is broken, drivers that are killed, and runs that
go on. Every image must have one row, equal to what `clipway embed` computes.

    pip install WHEEL --requirement python/requirements-recipes.txt
    python scripts/check_recipes.py MODEL_FOLDER [--images 2000] [--kills 10] [ray] [daft]
"""

from __future__ import annotations

import argparse
import io
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from PIL import Image

import clipway

RECIPES = pathlib.Path(__file__).parents[1] / "python" / "recipes"


def draw_images(count: int) -> dict[str, bytes]:
    """Files by name; one in a hundred is no image."""
    files, random_bytes = {}, np.random.default_rng(7)
    for index in range(count):
        data = io.BytesIO()
        Image.fromarray(random_bytes.integers(0, 256, (40 + index % 30, 50, 3), dtype=np.uint8)).save(data, "PNG")
        files[f"image-{index:05}"] = b"broken" if index % 100 == 99 else data.getvalue()
    return files


def write_shards(place: pathlib.Path, files: dict[str, bytes], size: int = 250) -> None:
    """WebDataset: uncompressed tar archives of samples."""
    place.mkdir()
    names = sorted(files)
    for start in range(0, len(names), size):
        with tarfile.open(place / f"shard-{start // size:04}.tar", "w") as shard:
            for name in names[start : start + size]:
                entry = tarfile.TarInfo(f"{name}.png")
                entry.size = len(files[name])
                shard.addfile(entry, io.BytesIO(files[name]))


def run(words: list[str], kills: int) -> int:
    """Runs a driver to its end; before, it is started and killed at random moments. Returns the number of kills."""
    killed = 0
    for attempt in range(kills + 1):
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
            try:
                process.wait(900 if attempt == kills else random.uniform(4, 25))
            except subprocess.TimeoutExpired:
                # Its own session: the driver and what it started.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                killed += 1
                time.sleep(2)
                if attempt == kills:
                    log.seek(0)
                    raise SystemExit(f"a run did not end:\n{log.read().decode()[-4000:]}")
                continue
            log.seek(0)
            if process.returncode != 0:
                raise SystemExit(f"a run failed ({process.returncode}):\n{log.read().decode()[-4000:]}")
    return killed


def check(out: pathlib.Path, expected: dict[str, np.ndarray | None]) -> None:
    """Every image has one row, with the expected features or an error."""
    tables = [parquet.read_table(path) for path in sorted(out.glob("**/*.parquet"))]
    table = pa.concat_tables(tables, promote_options="default")
    kind = table.schema.field("embedding").type
    assert pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float32(), kind
    seen: dict[str, int] = {}
    for row in table.to_pylist():
        name = pathlib.PurePath(row["path"]).stem
        seen[name] = seen.get(name, 0) + 1
        feature = expected[name]
        if feature is None:
            assert row["error"] and np.isnan(row["embedding"]).all(), row
        else:
            assert row["error"] is None
            np.testing.assert_array_equal(np.asarray(row["embedding"], np.float32), feature)
    twice = [name for name, count in seen.items() if count != 1]
    assert seen.keys() == expected.keys() and not twice, (len(seen), len(expected), twice[:5])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("recipes", nargs="*", default=["ray", "daft"])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=10)
    arguments = parser.parse_args()
    random.seed(7)
    place = pathlib.Path(tempfile.mkdtemp())
    files = draw_images(arguments.images)
    folder = place / "images"
    folder.mkdir()
    for name, data in files.items():
        (folder / f"{name}.png").write_bytes(data)
    write_shards(place / "shards", files)
    pairs = [(name, data) for name, data in files.items() if data != b"broken"]
    # `clipway embed --normalize`, which the tests of the wheel compare with this bit for bit.
    features = clipway.Model.load(arguments.model, towers="image").encode_image([data for _, data in pairs])
    expected: dict[str, np.ndarray | None] = dict.fromkeys(files)
    expected.update({name: feature for (name, _), feature in zip(pairs, features, strict=True)})

    if "ray" in arguments.recipes:
        for kind, images in [("webdataset", place / "shards"), ("folder", folder)]:
            out = place / f"ray-{kind}"
            words = [sys.executable, str(RECIPES / "ray_data.py"), "--model", arguments.model, "--images", str(images), "--kind", kind]
            words += ["--out", str(out), "--checkpoint", str(place / f"checkpoint-{kind}"), "--cpus", "6"]
            start = time.monotonic()
            killed = run(words, arguments.kills if kind == "webdataset" else 1)
            check(out, expected)
            print(f"ray, {kind}: {len(expected)} images, once each, after {killed} kills, {time.monotonic() - start:.0f} s", flush=True)
    if "daft" in arguments.recipes:
        out = place / "daft"
        words = [sys.executable, str(RECIPES / "daft_images.py"), "--model", arguments.model, "--images", f"{folder}/*.png", "--out", str(out)]
        killed = run(words, min(arguments.kills, 2))
        check(out, expected)
        print(f"daft: {len(expected)} images, once each, after {killed} kills", flush=True)
    shutil.rmtree(place)


if __name__ == "__main__":
    main()
