"""An index searched from Python gives what the command line gives."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

import clipway
from conftest import PICTURES, command_line


@pytest.fixture(scope="module")
def place(emoji: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with the pictures, one of them twice, and their index."""
    place = tmp_path_factory.mktemp("index")
    (place / "pictures" / "more").mkdir(parents=True)
    for picture in PICTURES:
        shutil.copy(picture, place / "pictures")
    shutil.copy(PICTURES[0], place / "pictures" / "more" / "twin.png")
    made = command_line("index", place / "pictures", "--index", place / "index", "--model", emoji)
    assert made.returncode == 0, made.stderr
    return place


def test_results_are_those_of_the_command_line(place: pathlib.Path, model: clipway.Model) -> None:
    index = clipway.Index.open(place / "index")
    assert (len(index), index.dims, index.fingerprint) == (len(PICTURES), model.dims, model.fingerprint)
    assert index.info["rows"] == len(PICTURES)
    assert repr(index).endswith(f": {len(PICTURES)} rows, {model.dims} dims>")
    texts = ["lion", "avocado"]
    found = index.search(model.encode_text(texts), limit=3)
    for text, results in zip(texts, found, strict=True):
        printed = json.loads(command_line("search", text, "--index", place / "index", "-k", 3, "--json").stdout)
        wanted = printed["queries"][0]["results"]
        assert [(one["row"], one["path"], one["rank"]) for one in results] == [
            (one["row"], one["path"], one["rank"]) for one in wanted
        ]
        np.testing.assert_allclose([one["score"] for one in results], [one["score"] for one in wanted], rtol=1e-6)
        assert results[0]["path"].endswith(f"{text}.png")
    one = index.search(model.encode_text(["lion"])[0], limit=3)
    assert one == found[0]


def test_filters_and_rows(place: pathlib.Path, model: clipway.Model) -> None:
    index = clipway.Index.open(place / "index", threads=1)
    query = model.encode_image([PICTURES[0]])[0]
    best = index.search(query, limit=1)[0]
    assert len(best["paths"]) == 2 and best["cosine"] > 0.9999
    twin = index.search(query, path=["*/more/*"])
    assert [pathlib.Path(one["path"]).name for one in twin] == ["twin.png"]
    assert index.search(query, min_score=1e9) == []
    feature = index.features([best["row"]])
    assert feature.shape == (1, model.dims)
    np.testing.assert_allclose(feature[0], query, atol=1e-3)
    assert index.search(np.empty((0, model.dims), np.float32)) == []


def test_bad_input(place: pathlib.Path, tmp_path: pathlib.Path, model: clipway.Model) -> None:
    index = clipway.Index.open(place / "index")
    with pytest.raises(ValueError, match=rf"expected a float32 array \[{model.dims}\]"):
        index.search(np.zeros(3, np.float32))
    with pytest.raises(TypeError, match="float32"):
        index.search(np.zeros(model.dims))
    with pytest.raises(TypeError, match="nearest is `limit`"):
        index.search(np.ones(model.dims, np.float32), limits=3)
    for query in (np.zeros(model.dims, np.float32), np.full(model.dims, np.nan, np.float32)):
        with pytest.raises(clipway.ClipwayError):
            index.search(query)
    with pytest.raises(clipway.ClipwayError, match="there is no row 999"):
        index.features([999])
    with pytest.raises(clipway.ClipwayError) as error:
        clipway.Index.open(tmp_path)
    assert error.value.code == "unknown-format"
    with pytest.raises(ValueError, match="threads"):
        clipway.Index.open(place / "index", threads=0)


SCRIPT_OF_FORK = """
import os, sys, clipway, numpy
index = clipway.Index.open(sys.argv[1], threads=2)
query = numpy.ones(index.dims, numpy.float32)
before = index.search(query)
child = os.fork()
if child == 0:
    try:
        index.search(query)
    except clipway.ClipwayError as error:
        good = error.code == "processor" and "index was opened before" in str(error) and "open the index" in error.hint
        del index
        os._exit(0 if good else 3)
    os._exit(4)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert index.search(query) == before
print("fine")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_is_told_so(place: pathlib.Path) -> None:
    words = [sys.executable, "-W", "ignore", "-c", SCRIPT_OF_FORK, str(place / "index")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "fine", done.stderr
