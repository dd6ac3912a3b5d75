"""Embeds a folder of images with Daft, to Parquet.

    python daft_images.py --model out/model --images '/data/images/**/*.jpg' --out /data/features

One row per image: `path`, `embedding` (a fixed-size list of float32) and `error`, which is null where the image could be read;
the embedding of an unreadable image is NaN. Images whose rows are in the output already are left out, so a run that ended early
can be started again.
"""

from __future__ import annotations

import argparse
import glob
import os

import daft
import pyarrow as pa
from daft import DataType, col

import clipway


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--actors", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    dims = clipway.Model.load(arguments.model, towers="image", threads=1).dims
    result = DataType.struct(
        {"embedding": DataType.embedding(DataType.float32(), dims), "error": DataType.string()}
    )

    @daft.cls(max_concurrency=arguments.actors, use_process=False)
    class Clip:
        def __init__(self) -> None:
            self.model = clipway.Model.load(arguments.model, towers="image", threads=arguments.threads)

        @daft.method.batch(return_dtype=result, batch_size=64)
        def embed(self, data: daft.Series) -> pa.Array:
            errors: list[str | None] = [None] * len(data)

            def note(index: int, error: Exception) -> None:
                errors[index] = str(error)

            features = self.model.encode_image(data.to_arrow(), on_error=note)
            column = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), dims)
            return pa.StructArray.from_arrays([column, pa.array(errors, pa.string())], ["embedding", "error"])

    images = daft.from_glob_path(arguments.images).select("path")
    if glob.glob(os.path.join(arguments.out, "*.parquet")):
        done = daft.read_parquet(f"{arguments.out}/*.parquet").select("path")
        images = images.join(done, on="path", how="anti")
    # A file that cannot be read is null here, and an error in its row.
    embedded = images.with_column("found", Clip().embed(col("path").download(on_error="null")))
    found = embedded.select("path", col("found").get("embedding"), col("found").get("error"))
    found.write_parquet(arguments.out, compression="zstd")


if __name__ == "__main__":
    main()
