"""Measures exact search with usearch and faiss on the rows that `cargo xtask bench search --folder DIR` left.

    python benches/peers/search.py DIR [--rows 1000000] [--threads 1,2] [--runs 15]

Needs numpy, usearch and faiss-cpu. Prints one JSON object per peer: milliseconds a query, for one query, 8 and 64 at
once, with all rows in memory.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy

WIDTH = 512


def milliseconds(call, runs):
    """Returns the least and the median time of a call."""
    call()
    times = []
    for _ in range(runs):
        before = time.perf_counter()
        call()
        times.append((time.perf_counter() - before) * 1e3)
    return min(times), statistics.median(times)


def report(engine, version, arguments, threads, search, queries, truth):
    cases = []
    for count in threads:
        for batch in (1, 8, len(queries)):
            least, median = milliseconds(lambda: search(queries[:batch], count), arguments.runs)
            cases.append({"threads": count, "batch": batch, "least_ms_per_query": least / batch, "median_ms_per_query": median / batch})
    found = search(queries[: len(truth)], threads[-1])
    recall = sum(len(set(a.tolist()) & set(b.tolist())) for a, b in zip(found, truth)) / truth.size
    print(json.dumps({"engine": engine, "version": version, "rows": arguments.rows, "recall_at_10": recall, "cases": cases}, indent=2), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--runs", type=int, default=15)
    arguments = parser.parse_args()
    threads = [int(count) for count in arguments.threads.split(",")]
    index = arguments.folder / f"index-{arguments.rows}"
    halves = numpy.fromfile(index / "rows.f16", numpy.float16).reshape(-1, WIDTH)[: arguments.rows]
    codes = numpy.fromfile(index / "rows.i8", numpy.int8).reshape(-1, WIDTH)[: arguments.rows]
    queries = numpy.fromfile(arguments.folder / "queries.f32", numpy.float32).reshape(-1, WIDTH)
    queries = queries / numpy.linalg.norm(queries, axis=1, keepdims=True)
    scores = numpy.concatenate([queries[:16] @ part.astype(numpy.float32).T for part in numpy.array_split(halves, 50)], axis=1)
    truth = numpy.argsort(-scores, axis=1)[:, :10]

    import faiss

    flat = faiss.IndexScalarQuantizer(WIDTH, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    flat.train(halves[:20_000].astype(numpy.float32))
    for part in numpy.array_split(halves, 50):
        flat.add(part.astype(numpy.float32))

    def of_faiss(queries, count):
        faiss.omp_set_num_threads(count)
        return flat.search(queries, 10)[1]

    report("faiss IndexScalarQuantizer QT_8bit", faiss.__version__, arguments, threads, of_faiss, queries, truth)
    del flat

    import usearch
    from usearch.index import MetricKind, search

    scaled = numpy.round(queries * (127 / numpy.abs(queries).max(axis=1, keepdims=True))).astype(numpy.int8)

    def of_usearch(queries, count):
        found = search(codes, scaled[: len(queries)], 10, MetricKind.Cos, exact=True, threads=count)
        return numpy.asarray(found.keys).reshape(len(queries), 10)

    report("usearch exact int8", usearch.__version__, arguments, threads, of_usearch, queries, truth)


if __name__ == "__main__":
    main()
