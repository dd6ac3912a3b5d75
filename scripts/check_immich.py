#!/usr/bin/env python3
"""Runs immich's own machine learning service on folders that `clipway export --to onnx-immich` writes.

    scripts/check_immich.py CLIPWAY PYTHON MACHINE_LEARNING

MACHINE_LEARNING is the folder `machine-learning` of a checkout of immich, PYTHON a Python with that folder's dependencies. The demo
model in `examples/emoji-clip` is exported in fp32, fp16 and int8, each into the service's cache as a model that the service knows by
name; the service gives the features of its 12 images and 17 labels, which are compared with open_clip's beside the model.
Prints one line for each precision, with the smallest cosine; exit 1 if one is below its bound, or if the service asks for a download.
"""

import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import uuid

import numpy as np
from safetensors.numpy import load_file

DEMO = pathlib.Path(__file__).resolve().parent.parent / "examples" / "emoji-clip"
# Names of its own list, in whose folders the exports are put; what bound holds for a cosine.
CASES = {"fp32": ("ViT-B-32__openai", 0.999999), "fp16": ("ViT-B-32__laion2b_e16", 0.9999), "int8": ("ViT-L-14__openai", 0.999)}


def export(clipway, cache):
    for precision, (name, _) in CASES.items():
        command = [clipway, "export", DEMO / "emoji-clip.pt", "--model", DEMO / "emoji-clip.json", "--to", "onnx-immich",
                   "--precision", precision, "--out", cache / "clip" / name, "--quiet"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def start(python, folder, cache, log):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Without an address of a hub, a download would be an error and not a silent success.
    settings = {"MACHINE_LEARNING_CACHE_FOLDER": str(cache), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(folder)}
    command = [python, "-m", "uvicorn", "immich_ml.main:app", "--port", str(port)]
    service = subprocess.Popen(command, env={**os.environ, **settings}, cwd=cache, stdout=log, stderr=log)
    for _ in range(600):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            connection.request("GET", "/ping")
            if connection.getresponse().read() == b"pong":
                return service, connection
        except OSError:
            if service.poll() is not None:
                raise RuntimeError(f"the service ended with status {service.returncode}")
            time.sleep(0.2)
    raise RuntimeError("the service does not answer")


def predict(connection, tower, name, field, content):
    """The feature of an image's bytes or of a text, as immich's server asks for it."""
    boundary = uuid.uuid4().hex
    file = '; filename="blob"\r\nContent-Type: application/octet-stream' if field == "image" else ""
    entries = json.dumps({"clip": {tower: {"modelName": name}}})
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="entries"\r\n\r\n{entries}\r\n'
    head += f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"{file}\r\n\r\n'
    body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    connection.request("POST", "/predict", body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"status {answer.status}: {text.decode()[:300]}")
    return np.array(json.loads(json.loads(text)["clip"]), np.float64)


def smallest_cosine(found, expected):
    found, expected = np.stack(found), np.asarray(expected, np.float64)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    return float(((found * expected).sum(1) / lengths).min())


def main():
    clipway, python, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]).resolve()
    expected = json.loads((DEMO / "expected.json").read_text())
    stored = load_file(DEMO / "expected.safetensors")
    pictures = [(DEMO / "pictures" / entry["file"]).read_bytes() for entry in expected["pictures"]]
    labels = (DEMO / "labels.txt").read_text().split("\n")
    texts = [expected["templates"][0].format(label).encode() for label in labels if label][:17]
    passed = True
    with tempfile.TemporaryDirectory() as place:
        cache = pathlib.Path(place)
        export(clipway, cache)
        with open(cache / "log", "w+") as log:
            service, connection = start(python, folder, cache, log)
            try:
                for precision, (name, bound) in CASES.items():
                    images = [predict(connection, "visual", name, "image", picture) for picture in pictures]
                    found = [predict(connection, "textual", name, "text", text) for text in texts]
                    cosines = [smallest_cosine(images, stored["image_features"]),
                               smallest_cosine(found, stored["text_features"][0][: len(texts)])]
                    good = min(cosines) >= bound
                    passed &= good
                    print(f"{'ok  ' if good else 'FAIL'} immich's service, {precision}: smallest cosine of an image "
                          f"{cosines[0]:.7f}, of a text {cosines[1]:.7f} (at least {bound})", flush=True)
            except RuntimeError:
                log.seek(0)
                print(log.read()[-2000:], file=sys.stderr)
                raise
            finally:
                service.terminate()
                service.wait(timeout=60)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
