"""Embeds images with Ray Data: from a folder, Parquet or WebDataset shards to Parquet, on one machine or many.

    python ray_data.py --model out/model --images /data/images --out /data/features --checkpoint /data/checkpoint

One row per image: `path`, `embedding` (a fixed-size list of float32) and `error`, which is null where the image could be read;
the embedding of an unreadable image is NaN, since pyarrow cannot read nulls of fixed-size lists back from Parquet.
A run that was killed is started again with the same command: images whose rows are written are left out, so each has one row.
For folders and Parquet that is the work of Ray's checkpoint, which needs a folder of its own. Its filter refuses what is read from
shards of WebDataset, so for these the paths in the output are left out. With several machines, model, output and checkpoint lie
where all of them see them.
"""

from __future__ import annotations

import argparse
import pathlib
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import ray
from ray.data.checkpoint import CheckpointConfig


class Embed:
    """One model per actor, with as many threads as the actor has processors."""

    def __init__(self, folder: str, threads: int) -> None:
        import clipway

        self.model = clipway.Model.load(folder, towers="image", threads=threads)

    def __call__(self, batch: pa.Table) -> pa.Table:
        errors: list[str | None] = [None] * len(batch)

        def note(index: int, error: Exception) -> None:
            errors[index] = str(error)

        features = self.model.encode_image(batch["bytes"], on_error=note)
        column = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), self.model.dims)
        return pa.table({"path": batch["path"], "embedding": column, "error": pa.array(errors, pa.string())})


def done(out: str) -> set[str]:
    """The paths in the output; files that a killed run left unfinished are removed."""
    paths: set[str] = set()
    for file in pathlib.Path(out).glob("**/*.parquet"):
        try:
            paths.update(parquet.read_table(file, columns=["path"])["path"].to_pylist())
        except pa.ArrowInvalid:
            file.unlink()
    return paths


def images(place: str, kind: str, out: str) -> Any:
    """A dataset with the columns `path`, which is unique, and `bytes`."""
    if kind == "folder":
        return ray.data.read_binary_files(place, include_paths=True)
    if kind == "parquet":
        return ray.data.read_parquet(place, columns=["path", "bytes"])

    def row(sample: dict[str, Any]) -> dict[str, Any]:
        names = [name for name in ("jpg", "jpeg", "png", "webp") if sample.get(name) is not None]
        return {"path": sample["__key__"], "bytes": sample[names[0]] if names else b""}

    left_out = ray.put(done(out))
    samples = ray.data.read_webdataset(place, decoder=None)
    return samples.filter(lambda sample: sample["__key__"] not in ray.get(left_out)).map(row)


def place(text: str) -> str:
    """A path of this machine from its root, since workers may have another folder; addresses stay as they are."""
    return text if "://" in text else str(pathlib.Path(text).absolute())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=place, required=True)
    parser.add_argument("--images", type=place, required=True)
    parser.add_argument("--kind", choices=["folder", "parquet", "webdataset"], default="folder")
    parser.add_argument("--out", type=place, required=True)
    parser.add_argument("--checkpoint", type=place, required=True)
    parser.add_argument("--actors", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpus", type=int, help="processors of a local Ray; at least 4 (by default: all)")
    arguments = parser.parse_args()
    ray.init(num_cpus=arguments.cpus, include_dashboard=False)
    processors = int(ray.cluster_resources().get("CPU", 0))
    # Reading, and the filter that a resumed run puts before it, need processors of their own: without them it waits forever.
    if processors < arguments.actors * arguments.threads + 3:
        raise SystemExit(f"Ray has {processors} processors; this needs {arguments.actors * arguments.threads + 3}")
    if arguments.kind != "webdataset":
        ray.data.DataContext.get_current().checkpoint_config = CheckpointConfig(
            id_column="path", checkpoint_path=arguments.checkpoint, delete_checkpoint_on_success=False
        )
    embedded = images(arguments.images, arguments.kind, arguments.out).map_batches(
        Embed,
        fn_constructor_args=(arguments.model, arguments.threads),
        batch_size=64,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=arguments.actors),
        num_cpus=arguments.threads,
    )
    embedded.write_parquet(arguments.out)


if __name__ == "__main__":
    main()
