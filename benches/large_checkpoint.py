"""Memory and speed of exports of a training checkpoint of 10.5 GB, beside the disk's own speed.

    python benches/large_checkpoint.py CLIPWAY DIR [PRECISION[,OPTION...]...]

Makes DIR/large.pt, unless it is there: weights (657 million, random), both of AdamW's moments and an averaged copy, in
f32, with the config DIR/large.json, by PyTorch. Each precision (fp16 by default; int8 and int4 go to clipway's folder) is
exported without verification and the folder removed. Before it the caches of the file are dropped and the disk is measured: a plain read of the
file, and a plain write of as many bytes as the folder has, with a sync. Prints the largest anonymous memory, sampled every 5
ms, the seconds, and the disk's seconds over them.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

CONFIG = {
    "embed_dim": 768,
    "vision_cfg": {"image_size": 56, "layers": 24, "width": 1024, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 1024, "heads": 16, "layers": 24},
}
BLOCK = 8 << 20


def make(folder):
    import open_clip
    import torch

    (folder / "large.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder / "large.json")
    torch.manual_seed(0)
    weights = open_clip.create_model("large").state_dict()
    moments = {
        index: {"step": torch.tensor(100.0), "exp_avg": value * 1e-3, "exp_avg_sq": value * value}
        for index, value in enumerate(weights.values())
    }
    torch.save(
        {
            "epoch": 1,
            "name": "large",
            "state_dict": {f"module.{name}": value for name, value in weights.items()},
            "state_dict_ema": {f"module.{name}": value * 0.999 for name, value in weights.items()},
            "optimizer": {"state": moments, "param_groups": [{"lr": 1e-3, "params": list(moments)}]},
        },
        folder / "large.pt",
    )


def drop_caches(path):
    """Drops what the system holds of a file."""
    os.sync()
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def seconds(action):
    start = time.monotonic()
    action()
    return time.monotonic() - start


def read(path):
    with open(path, "rb", buffering=0) as file:
        buffer = bytearray(BLOCK)
        while file.readinto(buffer):
            pass


def write(path, size):
    block = os.urandom(BLOCK)
    with open(path, "wb", buffering=0) as file:
        for start in range(0, size, BLOCK):
            file.write(block[: size - start])
        os.fsync(file.fileno())


def watched(command):
    """Runs a command; its seconds and its largest anonymous memory in MB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak, start = 0, time.monotonic()

    def sample():
        nonlocal peak
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                return
            for line in status.splitlines():
                if line.startswith("RssAnon:"):
                    peak = max(peak, int(line.split()[1]))
            time.sleep(0.005)

    thread = threading.Thread(target=sample)
    thread.start()
    if process.wait() != 0:
        sys.exit(f"{command} failed")
    took = time.monotonic() - start
    thread.join()
    return took, peak / 1024


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    clipway, folder = sys.argv[1], Path(sys.argv[2])
    source, out = folder / "large.pt", folder / "out"
    if not source.exists():
        make(folder)
    for asked in sys.argv[3:] or ["fp16"]:
        precision, *options = asked.split(",")
        target = "clipway" if precision.startswith("int") else "open_clip"
        command = [clipway, "export", source, "--model", folder / "large.json", "--weights", "raw", "--to", target,
                   "--precision", precision, "--no-verify", "--quiet", "--out", out, *options]
        drop_caches(source)
        plain = seconds(lambda: read(source))
        drop_caches(source)
        took, peak = watched(command)
        size = sum(path.stat().st_size for path in out.iterdir())
        shutil.rmtree(out)
        written = seconds(lambda: write(folder / "plain", size))
        (folder / "plain").unlink()
        print(f"{asked}: {source.stat().st_size / 1e9:.2f} GB to {size / 1e6:.0f} MB in {took:.1f} s, of the disk's speed "
              f"{(plain + written) / took:.2f} (reads {plain:.1f} s, writes {written:.1f} s); anonymous {peak:.0f} MB",
              flush=True)


if __name__ == "__main__":
    main()
