"""Writes small Parquet tables of features as other programs write them, for the tests of the reader.

    python scripts/make_parquet_samples.py crates/clipway-formats/tests/data/parquet

Needs numpy, pyarrow, polars, duckdb and daft; made with 25.0.1, 2.1.0, 2.0.1 and 0.7.26 of the last four. Every good
table has the rows that `row` gives. The tests state what each bad one is refused for.
"""

import pathlib
import shutil
import sys
import tempfile

import daft
import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

ROWS, WIDTH = 40, 4


def row(number):
    """Path and feature of a row; values are exact in f16, and path 7 is not ASCII."""
    name = "café" if number == 7 else f"a{number}"
    return f"images/{number // 3}/{name}.jpg", [((number * 7 + at * 3) % 11 - 5) / 4 for at in range(WIDTH)]


def fixed(values, dtype=np.float32):
    flat = pa.array(np.asarray(values, dtype).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, WIDTH)


def good(out):
    paths, values = zip(*(row(number) for number in range(ROWS)))
    table = pa.table({"image_path": list(paths), "caption": [f"text {n}" for n in range(ROWS)], "features": fixed(values)})

    def write(name, table=table, **options):
        pq.write_table(table, out / f"{name}.parquet", **{"compression": "none", "store_schema": False, **options})

    write("pyarrow-plain", use_dictionary=False)
    write("pyarrow-dictionary")
    for codec in ["snappy", "gzip", "zstd"]:
        write(f"pyarrow-{codec}", compression=codec)
    write("pyarrow-v2", compression="zstd", data_page_version="2.0")
    write("pyarrow-pages", compression="snappy", use_dictionary=False, data_page_size=64, write_batch_size=5, row_group_size=17, write_page_checksum=True)
    write("pyarrow-pages-v2", compression="snappy", data_page_version="2.0", data_page_size=64, write_batch_size=5, row_group_size=17)
    split = {"image_path": "DELTA_BYTE_ARRAY", "caption": "DELTA_LENGTH_BYTE_ARRAY", "features.list.element": "BYTE_STREAM_SPLIT"}
    write("pyarrow-encodings", use_dictionary=False, column_encoding=split)
    write("pyarrow-half", table.set_column(2, "features", fixed(values, np.float16)), use_dictionary=False)
    write("pyarrow-half-split", table.set_column(2, "features", fixed(values, np.float16)), use_dictionary=False, column_encoding={"features.list.element": "BYTE_STREAM_SPLIT"})
    write("pyarrow-double", table.set_column(2, "features", pa.array(values, pa.list_(pa.float64()))))
    write("pyarrow-large", table.set_column(2, "features", pa.array(values, pa.large_list(pa.float32()))))
    write("pyarrow-old-lists", table, use_compliant_nested_type=False)
    required = pa.schema([pa.field("image_path", pa.string(), False), pa.field("features", pa.list_(pa.field("element", pa.float32(), False), WIDTH), False)])
    write("pyarrow-required", table.drop_columns(["caption"]).cast(required))
    rows = table
    frame = pl.from_arrow(rows)
    frame.write_parquet(out / "polars.parquet")
    frame.write_parquet(out / "polars-snappy.parquet", compression="snappy", row_group_size=16)
    for name, more in [("duckdb", ""), ("duckdb-v2", ", parquet_version v2, compression zstd")]:
        duckdb.sql(f"copy (select * from rows) to '{out / name}.parquet' (format parquet{more})")
    folder = tempfile.mkdtemp()
    daft.from_arrow(table).write_parquet(folder)
    [written] = pathlib.Path(folder).glob("*.parquet")
    shutil.copy(written, out / "daft.parquet")
    shutil.rmtree(folder)


def bad(out):
    paths, values = map(list, zip(*(row(number) for number in range(ROWS))))

    def write(name, paths=paths, values=values, kind=pa.list_(pa.float32()), **options):
        table = pa.table({"image_path": pa.array(paths), "features": pa.array(values, kind)})
        pq.write_table(table, out / f"bad-{name}.parquet", **{"compression": "none", "store_schema": False, **options})

    def changed(values, value):
        return values[:23] + [value] + values[24:]

    write("null-list", values=changed(values, None))
    write("empty-list", values=changed(values, []))
    write("null-element", values=changed(values, [1.0, None, 2.0, 3.0]))
    write("short-list", values=changed(values, [1.0, 2.0, 3.0]))
    write("long-list", values=changed(values, [1.0] * 9))
    write("nan", values=changed(values, [1.0, float("nan"), 2.0, 3.0]))
    write("null-path", paths=changed(paths, None))
    write("not-utf8", paths=changed([path.encode() for path in paths], b"a\xff"))
    for codec in ["brotli", "lz4"]:
        write(codec, compression=codec)
    write("integers", values=[[1, 2, 3, 4]] * ROWS, kind=pa.list_(pa.int32()))
    write("nested", values=[[row] for row in values], kind=pa.list_(pa.list_(pa.float32())))


if __name__ == "__main__":
    target = pathlib.Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    good(target)
    bad(target)
