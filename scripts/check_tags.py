"""Checks what clipway takes for every pretrained tag of open_clip 3.3.0 against open_clip's own functions.

    cargo build --release -p clipway-cli
    python scripts/check_tags.py target/release/clipway [--manifests ../shared/goldens/manifests] [--rows]

For each of the 196 tags, on a small hub in this process:

- choice: the file that open_clip's `download_pretrained` asks for, where a repository has both formats, only the pickle,
  or neither, against what `clipway pull NAME:TAG` fetches.
- settings: mean, std, interpolation, resize mode, image size, activation and the warning about it as
  `create_model_and_transforms` sets them, against `clipway inspect --model NAME --pretrained TAG`, which reads only the
  header of weights with the right names and shapes. Needs a manifest of the architecture; seven are in this repository.
- hash: the digits that open_clip reads from each URL, against those that clipway compares a file of that name with.

`--rows` prints a line for each tag. Needs open_clip_torch 3.3.0. Nothing outside of this machine is asked.
"""

import argparse
import gzip
import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import open_clip
from open_clip import factory, pretrained

ROOT = Path(__file__).resolve().parent.parent
COMMIT = "c" * 40
SAFE, PICKLE = "open_clip_model.safetensors", "open_clip_pytorch_model.bin"
DTYPES = {"float32": ("F32", 4), "float16": ("F16", 2), "int64": ("I64", 8), "bool": ("BOOL", 1)}


class Virtual:
    """Bytes that begin with a head and go on with zeros."""

    def __init__(self, head, size=None):
        self.head, self.size = head, len(head) if size is None else size
        self.hash = hashlib.sha256(head).hexdigest() if size else None

    def entry(self, path):
        git = hashlib.sha1(b"blob %d\0" % self.size + self.head).hexdigest()
        entry = {"type": "file", "path": path, "size": self.size, "oid": git}
        return entry | ({"lfs": {"oid": self.hash, "size": self.size, "pointerSize": 134}} if self.hash else {})

    def part(self, start, end):
        return self.head[start:end].ljust(end - start, b"\0")


class Hub(BaseHTTPRequestHandler):
    """A hub whose repositories are `Hub.repositories[name][path]`."""

    protocol_version = "HTTP/1.1"
    repositories = {}
    sent = 0

    def do_GET(self):
        parts = self.path.split("?")[0].strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        name, rest = "/".join(parts[2:4] if api else parts[:2]), parts[4 if api else 2:]
        files = Hub.repositories.get(name)
        if files is None:
            return self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        if rest[0] == "revision":
            return self.answer(200, json.dumps({"sha": COMMIT}).encode())
        if rest[0] == "tree":
            return self.answer(200, json.dumps([file.entry(path) for path, file in files.items()]).encode())
        file = files["/".join(rest[2:])]
        head = {"X-Repo-Commit": COMMIT, "ETag": f'"{file.hash or file.entry("")["oid"]}"'}
        asked = self.headers.get("Range")
        if asked is None:
            return self.answer(200, file.part(0, file.size), head)
        start, end = (int(number) for number in asked.removeprefix("bytes=").split("-"))
        head["Content-Range"] = f"bytes {start}-{end}/{file.size}"
        return self.answer(206, file.part(start, end + 1), head)

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        Hub.sent += len(body)

    def log_message(self, *_):
        pass


class Clipway:
    def __init__(self, program, address, folder):
        self.program, self.folder = program, folder
        self.env = os.environ | {"HF_ENDPOINT": address, "HF_HUB_CACHE": str(folder / "cache"), "HF_TOKEN": "x"}
        for name in ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HOME"]:
            self.env.pop(name, None)

    def __call__(self, *arguments):
        """The JSON that a command prints, which for a failure is its error."""
        command = [self.program, *map(str, arguments), "--json"]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=300)
        return json.loads(done.stdout or "{}")


def chosen_by_open_clip(cfg, repositories):
    """The file that open_clip ends up with; none if it gives up."""
    def download(repo_id, filename, **_):
        if filename not in repositories[repo_id]:
            raise FileNotFoundError(filename)
        return f"{repo_id}/{filename}"
    pretrained.hf_hub_download = download
    try:
        return pretrained.download_pretrained(cfg)
    except FileNotFoundError:
        return None


def chosen_by_clipway(clipway, model, tag):
    found = clipway("pull", f"{model}:{tag}")
    files = [file["path"] for file in found.get("files", []) if file["path"].endswith((".bin", ".safetensors"))]
    assert len(files) < 2, files
    return f"{found['repository']}/{files[0]}" if files else None


def settings_of_open_clip(model, tag):
    """What `create_model_and_transforms` sets, by its own code around a model that is not built."""
    class Stub:
        def __init__(self, vision_cfg, quick_gelu=False, **_):
            self.quick_gelu, self.visual = quick_gelu, type("Visual", (), {"image_size": vision_cfg["image_size"]})()
    classes = {name: Stub for name in ["CLIP", "CustomTextCLIP", "CoCa"]}
    quiet = {"_set_model_device_and_precision": lambda *_, **__: None, "load_checkpoint": lambda *_, **__: None,
             "download_pretrained": lambda *_, **__: "weights"}
    before = {name: getattr(factory, name) for name in classes | quiet}
    try:
        vars(factory).update(classes | quiet)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            made = factory.create_model_and_transforms(model, tag)[0]
    finally:
        vars(factory).update(before)
    cfg, size = made.visual.preprocess_cfg, made.visual.image_size
    return {
        "mean": list(cfg["mean"]), "std": list(cfg["std"]), "interpolation": cfg["interpolation"],
        "resize_mode": cfg["resize_mode"], "size": list(size) if isinstance(size, (list, tuple)) else [size, size],
        "activation": "quick_gelu" if made.quick_gelu else "gelu",
        "warns": any("QuickGELU mismatch" in str(one.message) for one in caught),
    }


def weights(manifest):
    """Virtual weights in safetensors with a manifest's names and shapes."""
    header, at = {}, 0
    for name, dtype, shape in manifest["state_dict"]:
        code, width = DTYPES[dtype]
        count = width
        for side in shape:
            count *= side
        header[name] = {"dtype": code, "shape": shape, "data_offsets": [at, at + count]}
        at += count
    text = json.dumps(header).encode()
    return Virtual(struct.pack("<Q", len(text)) + text, 8 + len(text) + at)


def settings_of_clipway(clipway, model, tag):
    found = clipway("inspect", "--model", model, "--pretrained", tag)
    assert "contract" in found, found.get("error", found)
    image = found["contract"]["image"]
    origins = {name: image[name]["from"] for name in ["mean", "std", "interpolation", "resize_mode"]}
    for name, origin in origins.items():
        assert origin == {"kind": "pretrained_tag", "name": model, "tag": tag}, f"{name} from {origin}"
    values = {name: image[name]["value"] for name in [*origins, "size"]}
    warns = any("trained with" in note for note in found["notes"])
    return values | {"activation": found["contract"]["activation"]["value"], "warns": warns}


def hash_by_open_clip(url, folder):
    """The digits that open_clip compares a file of a URL with; it is called with such a file in its cache."""
    asked = []

    class Digits(str):
        def startswith(self, digits):
            asked.append(digits)
            return True
    path = folder / url.rsplit("/")[-1]
    path.write_bytes(b"x")
    before = pretrained.hashlib
    pretrained.hashlib = type("Fake", (), {"sha256": lambda _: type("Hash", (), {"hexdigest": lambda self: Digits()})()})
    try:
        pretrained.download_pretrained_from_url(url, cache_dir=str(folder))
    finally:
        pretrained.hashlib = before
    return asked[0] if asked else None


def hash_by_clipway(clipway, model, path):
    error = clipway("inspect", "--model", model, "--pretrained", path)["error"]
    return error["message"].rsplit("not ", 1)[1] if error["code"] == "checksum" else None


def compared(tag, mine, theirs, what, failures):
    if mine != theirs:
        failures.append(f"{tag[0]}:{tag[1]} {what}: open_clip {theirs}, clipway {mine}")
    return mine == theirs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clipway")
    parser.add_argument("--manifests", type=Path, default=ROOT / "crates/clipway-testing/data/manifests")
    parser.add_argument("--rows", action="store_true")
    options = parser.parse_args()
    program = str(Path(options.clipway).resolve())
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    tags = open_clip.list_pretrained()
    cfgs = {tag: pretrained.get_pretrained_cfg(*tag) for tag in tags}
    repositories = {tag: os.path.split(cfg["hf_hub"])[0] for tag, cfg in cfgs.items()}
    failures, counts, rows = [], {"choices": 0, "settings": 0, "hashes": 0}, {tag: [] for tag in tags}
    pool = ThreadPoolExecutor(os.cpu_count())

    # Decoys are names that clipway would take from a repository that is named itself.
    decoys = ["model.safetensors", "clipway.json", "open_clip_config.json", "pytorch_model.pth"]
    formats = {"both": [SAFE, PICKLE, "pytorch_model.safetensors", "pytorch_model.bin"],
               "pickle": [PICKLE, "pytorch_model.bin"], "neither": []}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for kind, names in formats.items():
            (folder / kind).mkdir()
            clipway = Clipway(program, address, folder / kind)
            files = {name: Virtual(name.encode()) for name in names + decoys}
            Hub.repositories = {repository: files for repository in repositories.values()}
            found = pool.map(lambda tag: chosen_by_clipway(clipway, *tag), tags)
            for tag, mine in zip(tags, found):
                theirs = chosen_by_open_clip(cfgs[tag], Hub.repositories)
                counts["choices"] += compared(tag, mine, theirs, f"choice ({kind})", failures)
                rows[tag].append(str(theirs).rsplit("/")[-1] if kind != "both" else str(theirs))

        clipway = Clipway(program, address, folder)
        inspected, sent = 0, Hub.sent
        for tag in tags:
            path = options.manifests / f"{tag[0]}.json.gz"
            if not path.exists():
                continue
            manifest = json.loads(gzip.decompress(path.read_bytes()))
            name = os.path.split(cfgs[tag]["hf_hub"])[1] or SAFE
            Hub.repositories = {repositories[tag]: {name: weights(manifest)}}
            theirs = settings_of_open_clip(*tag)
            try:
                mine = settings_of_clipway(clipway, *tag)
            except AssertionError as error:
                mine = str(error)
            counts["settings"] += compared(tag, mine, theirs, "settings", failures)
            rows[tag] += [theirs["mean"], theirs["interpolation"], theirs["resize_mode"], theirs["activation"]]
            inspected += 1
        sent = (Hub.sent - sent) / max(inspected, 1)

        urls = [tag for tag in tags if cfgs[tag].get("url")]
        for tag in urls:
            url = cfgs[tag]["url"]
            theirs = hash_by_open_clip(url, folder)
            mine = hash_by_clipway(clipway, tag[0], folder / url.rsplit("/")[-1])
            counts["hashes"] += compared(tag, mine, theirs, "hash", failures)
            rows[tag].append(str(theirs)[:8])

    if options.rows:
        for tag, row in rows.items():
            print(f"{tag[0]}:{tag[1]}", *row, sep="  ")
    for failure in failures:
        print(f"FAILED  {failure}")
    print(f"{counts['choices']} of {len(formats) * len(tags)} choices of files, {counts['settings']} of {inspected} settings "
          f"({len(tags)} tags, {sent / 1000:.0f} kB sent for each), {counts['hashes']} of {len(urls)} hashes agree")
    sys.exit(bool(failures) or not inspected)


if __name__ == "__main__":
    main()
