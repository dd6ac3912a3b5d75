"""Threads, processes, signals and memory."""

from __future__ import annotations

import concurrent.futures
import gc
import multiprocessing
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import clipway
from conftest import PICTURES, TEXTS


def resident() -> int:
    """Bytes of memory in use."""
    # Windows has no such module.
    import resource

    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


@pytest.mark.parametrize("threads", [1, 2])
def test_many_threads_at_once(emoji: pathlib.Path, threads: int) -> None:
    model = clipway.Model.load(emoji, threads=threads)
    images, texts = model.encode_image(PICTURES), model.encode_text(TEXTS)

    def work(index: int) -> bool:
        place = index % len(PICTURES)
        found = model.encode_image([PICTURES[place]])[0]
        text = model.encode_text([TEXTS[index % len(TEXTS)]])[0]
        return bool((found == images[place]).all() and (text == texts[index % len(TEXTS)]).all())

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(200)))


def count_until(stop: threading.Event) -> int:
    count = 0
    while not stop.is_set():
        count += 1
    return count


SCRIPT_OF_WORK = """
import sys, clipway
model, image = clipway.Model.load(sys.argv[1], threads=1), open(sys.argv[2], "rb").read()
print("ready", flush=True)
while True:
    model.encode_image([image] * 128, batch_size=128)
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two processors")
def test_other_threads_run_meanwhile(model: clipway.Model) -> None:
    """A thread that counts is as fast while another thread encodes as while another process does, so that only what the two
    share, the interpreter, can slow it. The best of several attempts counts, since the machine may do other things."""
    data = PICTURES[0].read_bytes()

    def speed(work: Callable[[], object]) -> float:
        stop, counts = threading.Event(), []
        counter = threading.Thread(target=lambda: counts.append(count_until(stop)))
        start = time.perf_counter()
        counter.start()
        while time.perf_counter() - start < 1:
            work()
        stop.set()
        counter.join()
        return float(counts[0]) / (time.perf_counter() - start)

    def apart() -> float:
        words = [sys.executable, "-c", SCRIPT_OF_WORK, model.info["path"], str(PICTURES[0])]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
            assert process.stdout and process.stdout.readline().strip() == b"ready"
            found = speed(lambda: time.sleep(1))
            process.kill()
        return found

    best = 0.0
    for _ in range(10):
        best = max(best, speed(lambda: model.encode_image([data] * 128, batch_size=128)) / apart())
        if best >= 0.9:
            break
    print(f"a counting thread keeps {best:.0%} of its speed")
    assert best >= 0.9
    # The same measure sees work that holds the interpreter.
    assert speed(lambda: sum(range(3_000_000))) / apart() < 0.8


def test_a_pickled_model_is_loaded_again(emoji: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(emoji.parent)
    model = clipway.Model.load(emoji.name, threads=1, towers="text", compute="bf16")
    data = pickle.dumps(model)
    assert len(data) < 1000
    monkeypatch.chdir("/")
    copy = pickle.loads(data)
    assert copy.threads == 1
    np.testing.assert_array_equal(copy.encode_text(TEXTS), model.encode_text(TEXTS))
    with pytest.raises(clipway.ClipwayError):
        copy.encode_image(PICTURES)
    error = pickle.loads(pickle.dumps(clipway.ClipwayError("m", "c", "h", {"a": 1})))
    assert (str(error), error.code, error.hint, error.details) == ("m [c]\nhint: h", "c", "h", {"a": 1})


def encode_texts(model: clipway.Model) -> np.ndarray:
    return model.encode_text(TEXTS)


def test_a_spawned_process(model: clipway.Model) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(encode_texts, (model,)), encode_texts(model))


SCRIPT_OF_FORK = """
import os, sys, clipway
folder, threads = sys.argv[1], int(sys.argv[2])
model = clipway.Model.load(folder, threads=threads)
before = model.encode_text(["a"])
if os.fork() == 0:
    try:
        model.encode_text(["a"])
    except clipway.ClipwayError as error:
        assert error.code == "processor" and "spawn" in error.hint, error
    else:
        os._exit(3)
    del model
    fresh = clipway.Model.load(folder, threads=threads)
    os._exit(0 if (fresh.encode_text(["a"]) == before).all() else 4)
_, status = os.wait()
assert os.waitstatus_to_exitcode(status) == 0, status
assert (model.encode_text(["a"]) == before).all()
print("fine")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_process_is_told_so(emoji: pathlib.Path, threads: int) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT_OF_FORK, str(emoji), str(threads)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.strip() == "fine", done.stderr


SCRIPT_OF_INTERRUPT = """
import itertools, sys, clipway
model = clipway.Model.load(sys.argv[1])
image = open(sys.argv[2], "rb").read()
print("ready", flush=True)
try:
    model.encode_image(itertools.repeat(image), on_error="nan", out=None)
except KeyboardInterrupt:
    assert model.encode_image([image]).shape[0] == 1
    print("interrupted", flush=True)
"""

SCRIPT_OF_LOADING = """
import sys, clipway
print("ready", flush=True)
try:
    while True:
        clipway.inspect(sys.argv[1], stats=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("script", [SCRIPT_OF_INTERRUPT, SCRIPT_OF_LOADING], ids=["encode", "inspect"])
def test_the_keyboard_interrupts(emoji: pathlib.Path, script: str) -> None:
    words = [sys.executable, "-c", script, str(emoji), str(PICTURES[0])]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline().strip() == "ready"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        line = process.stdout.readline().strip()
        assert line == "interrupted", process.stderr.read()
        assert time.monotonic() - start < 20
        assert process.wait(30) == 0


def test_exceptions_of_callbacks_are_passed_on(model: clipway.Model) -> None:
    def failing() -> Iterator[bytes]:
        yield PICTURES[0].read_bytes()
        raise KeyError("from the iterator")

    with pytest.raises(KeyError, match="from the iterator"):
        model.encode_image(failing(), batch_size=1)

    def refuse(*_: object) -> None:
        raise KeyError("from the callback")

    with pytest.raises(KeyError, match="from the callback"):
        model.encode_image(PICTURES, progress=refuse)
    with pytest.raises(KeyError, match="from the callback"):
        model.encode_image([b"x"], on_error=refuse)


@linux
def test_many_images_need_the_memory_of_a_batch(emoji: pathlib.Path) -> None:
    """10,000 images of 3 MB each pass through one call."""
    model = clipway.Model.load(emoji, threads=2)
    image = np.zeros((1000, 1000, 3), np.uint8)
    count = int(os.environ.get("CLIPWAY_MANY_IMAGES", "10000"))
    out = np.zeros((count, model.dims), np.float32)
    highest = [0]

    def images() -> Iterator[np.ndarray]:
        for index in range(count):
            if index % 100 == 0:
                highest[0] = max(highest[0], resident())
            yield image.copy()

    model.encode_image((image.copy() for _ in range(64)), batch_size=32)
    before = resident()
    model.encode_image(images(), batch_size=32, out=out)
    grown = highest[0] - before
    print(f"{count} images: {grown / 1e6:.0f} MB more than before")
    # A batch of 32 such images is 96 MB, and its pixels less than 1 MB.
    assert grown < 1.2 * 32 * image.nbytes
    assert np.isfinite(out).all()


@linux
def test_calls_do_not_leak(model: clipway.Model) -> None:
    calls = int(os.environ.get("CLIPWAY_CALLS", "100000"))
    image = np.zeros((4, 4, 3), np.uint8)

    def round_of(count: int) -> None:
        for index in range(count):
            if index % 4 == 0:
                model.encode_image([image])
            elif index % 4 == 1:
                model.encode_image([b"not an image"], on_error="nan")
            elif index % 4 == 2:
                with pytest.raises(TypeError):
                    model.tokenize([3])  # type: ignore[list-item]
            else:
                model.tokenize(["a", "b"])

    round_of(calls // 20)
    before = resident()
    round_of(calls)
    grown = resident() - before
    print(f"{calls} calls: {grown / 1e6:.1f} MB more")
    assert grown < 8e6
