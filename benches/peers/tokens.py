"""Texts per second of open_clip's SimpleTokenizer on one thread, for `cargo xtask bench tokens`.

    python benches/peers/tokens.py FILE [--seconds 2]

FILE holds one text per line. Prints a JSON object in the same format as clipway's. Needs open_clip.
"""

import argparse
import json
import os
import time
from pathlib import Path

BATCH = 256


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    import open_clip

    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    texts = Path(arguments.file).read_text(encoding="utf-8").splitlines()
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    # Once before the clock starts, since the tokenizer caches the pieces of every word it sees.
    for batch in batches:
        tokenizer(batch)
    count, before = 0, time.perf_counter()
    while count == 0 or time.perf_counter() - before < arguments.seconds:
        for batch in batches:
            tokenizer(batch)
        count += len(texts)
    speed = count / (time.perf_counter() - before)
    print(json.dumps({"engine": f"open_clip {open_clip.__version__}, SimpleTokenizer", "per_second": speed}))


if __name__ == "__main__":
    main()
