"""Checks `clipway serve` with the clients that people use: OpenAI's and Cohere's SDKs, and immich's own requests.

Starts a server with the demo model on a free port. Vectors must equal those of `clipway embed --normalize`. immich's requests are
made by Node's `fetch` and `FormData`, as its server makes them (`check_serve_immich.mjs`). What is not installed is skipped, and a line
says so. Also compares the
throughput of 32 clients of one image each with `clipway embed`, if `--throughput` is given.

    pip install openai cohere numpy
    python scripts/check_serve.py --clipway target/release/clipway [--throughput SECONDS]
"""

import argparse
import importlib.util
import json
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import numpy as np

from served import DEMO, MODEL, NAME, ROOT, Served, data_uri

TEXTS = ["a lion", "an avocado", "scissors, open", "un château 山"]
IMAGES = [DEMO / "pictures" / f"{name}.png" for name in ["lion", "avocado", "scissors"]]
# A row does not depend on its batch, and JSON keeps every bit of an f32.
TOLERANCE = 1e-6

failures = 0


def check(name: str, found, expected) -> None:
    """Compares rows of vectors."""
    global failures
    found, expected = np.asarray(found, dtype=np.float32), np.asarray(expected, dtype=np.float32)
    good = found.shape == expected.shape and float(np.abs(found - expected).max()) <= TOLERANCE
    failures += not good
    print(f"{'ok  ' if good else 'FAIL'} {name}: {found.shape[0]} vectors")


def hold(name: str, good: bool, detail: str = "") -> None:
    """Reports a condition."""
    global failures
    failures += not good
    print(f"{'ok  ' if good else 'FAIL'} {name}{': ' + detail if detail else ''}")


def expected(clipway: str) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of the images and of the texts, as `clipway embed` gives them."""
    texts = [word for text in TEXTS for word in ("--text", text)]
    command = [clipway, "embed", MODEL[0], *map(str, IMAGES), *MODEL[1:], "--normalize", *texts]
    rows = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    vectors = [row["features"] for row in rows]
    return np.array(vectors[: len(IMAGES)]), np.array(vectors[len(IMAGES) :])


def has(what: str, is_there: bool) -> bool:
    """Says what is skipped."""
    if not is_there:
        print(f"skipped: {what}, which is not installed")
    return is_there


def has_package(name: str) -> bool:
    return has(f"the Python package `{name}`", importlib.util.find_spec(name) is not None)


def openai_sdk(base: str, images: np.ndarray, texts: np.ndarray) -> None:
    import openai

    client = openai.OpenAI(base_url=f"{base}/v1", api_key="unused", max_retries=0)
    rows = client.embeddings.create(model=NAME, input=TEXTS)
    check("openai, texts (base64, its default)", [row.embedding for row in rows.data], texts)
    rows = client.embeddings.create(model=NAME, input=TEXTS, encoding_format="float")
    check("openai, texts (float)", [row.embedding for row in rows.data], texts)
    uris = [data_uri(path) for path in IMAGES]
    rows = client.embeddings.create(model=NAME, input=uris, extra_body={"modality": "image"})
    check("openai, images as infinity takes them", [row.embedding for row in rows.data], images)
    rows = client.embeddings.create(model=NAME, input=[{"image": uri} for uri in uris])
    check("openai, images as Jina takes them", [row.embedding for row in rows.data], images)
    content = [{"type": "image_url", "image_url": {"url": uris[0]}}]
    body = {"model": NAME, "messages": [{"role": "user", "content": content}], "encoding_format": "float"}
    answer = client.post("/embeddings", body=body, cast_to=openai.types.CreateEmbeddingResponse)
    check("openai, an image as vLLM takes it", [answer.data[0].embedding], images[:1])
    hold("openai, list of models", [model.id for model in client.models.list()] == [NAME])
    try:
        client.embeddings.create(model="ViT-B-32", input="a")
        hold("openai, another model is refused", False)
    except openai.NotFoundError as error:
        hold("openai, another model is refused", error.code == "unknown-model", error.message)
    try:
        client.embeddings.create(model=NAME, input="a", dimensions=3)
        hold("openai, another width is refused", False)
    except openai.BadRequestError as error:
        hold("openai, another width is refused", error.code == "bad-value", error.message)


def cohere_sdk(base: str, images: np.ndarray, texts: np.ndarray) -> None:
    import cohere

    client = cohere.ClientV2(api_key="unused", base_url=base)
    answer = client.embed(model=NAME, texts=TEXTS, input_type="search_document", embedding_types=["float"])
    check("cohere, texts", answer.embeddings.float_, texts)
    answer = client.embed(model=NAME, images=[data_uri(IMAGES[0])], input_type="image", embedding_types=["float"])
    check("cohere, an image", answer.embeddings.float_, images[:1])


def immich(base: str, images: np.ndarray, texts: np.ndarray) -> None:
    """immich's own requests, made by Node."""
    script = ROOT / "scripts" / "check_serve_immich.mjs"
    command = ["node", str(script), base, NAME, *map(str, IMAGES), "--", *TEXTS]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    hold("immich, ping", found["ping"] == "pong")
    check("immich, images", [json.loads(text) for text in found["images"]], images)
    check("immich, texts", [json.loads(text) for text in found["texts"]], texts)
    hold("immich, faces are refused by name", found["faces"]["status"] == 422, found["faces"]["detail"])


def tei(base: str, texts: np.ndarray) -> None:
    body = json.dumps({"inputs": TEXTS, "truncate": True}).encode()
    request = urllib.request.Request(f"{base}/embed", body, {"content-type": "application/json"})
    check("text-embeddings-inference, texts", json.load(urllib.request.urlopen(request)), texts)


def throughput(server: Served, clipway: str, seconds: float) -> None:
    """32 clients of one image each against `clipway embed` on as many images, in time and in processor time."""
    body = json.dumps({"model": NAME, "modality": "image", "input": data_uri(IMAGES[0])}).encode()
    counts, end = [0] * 32, time.monotonic() + seconds

    def run(client: int) -> None:
        import http.client

        connection = http.client.HTTPConnection(server.base.removeprefix("http://"))
        while time.monotonic() < end:
            connection.request("POST", "/v1/embeddings", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            counts[client] += answer.status == 200

    threads = [threading.Thread(target=run, args=(client,)) for client in range(32)]
    started, before = time.monotonic(), server.processor()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    served, cost = sum(counts) / (time.monotonic() - started), (server.processor() - before) / sum(counts)
    with tempfile.TemporaryDirectory() as folder:
        count = max(256, sum(counts))
        for number in range(count):
            (pathlib.Path(folder) / f"{number:05}.png").write_bytes(IMAGES[0].read_bytes())
        started, before = time.monotonic(), children()
        command = [clipway, "embed", MODEL[0], folder, *MODEL[1:], "--out", f"{folder}.npy"]
        subprocess.run(command, check=True, capture_output=True)
        offline, offline_cost = count / (time.monotonic() - started), (children() - before) / count
        pathlib.Path(f"{folder}.npy").unlink()
    print(
        f"     throughput: {served:.0f} images/s served to 32 clients, {offline:.0f} by `embed` ({served / offline:.2f}); "
        f"{1e3 * cost:.2f} and {1e3 * offline_cost:.2f} ms of processor time an image ({offline_cost / cost:.2f})"
    )


def children() -> float:
    """Processor time of the processes that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clipway", required=True)
    parser.add_argument("--throughput", type=float, metavar="SECONDS")
    arguments = parser.parse_args()
    images, texts = expected(arguments.clipway)
    with Served(arguments.clipway) as server:
        if has_package("openai"):
            openai_sdk(server.base, images, texts)
        if has_package("cohere"):
            cohere_sdk(server.base, images, texts)
        tei(server.base, texts)
        if has("Node for immich's requests", shutil.which("node") is not None):
            immich(server.base, images, texts)
        if arguments.throughput:
            for _ in range(3):
                throughput(server, arguments.clipway, arguments.throughput)
    hold("SIGTERM ends the server", server.status == 0, f"exit status {server.status}")
    print("failed" if failures else "passed")
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
