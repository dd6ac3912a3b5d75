#!/usr/bin/env python3
"""Writes crates/clipway-model/data/sizes.json from the manifests of open_clip's models.

usage: make_registry_sizes.py FOLDER_OF_NAME.json.gz crates/clipway-model/data/sizes.json

For each model: trained values, floating-point values in the state dict (trained ones and buffers), bytes of all other
tensors, and the number of tensors. The second and third give the size on disk at any precision.
"""

import gzip
import json
import math
import pathlib
import sys

BYTES = {"int64": 8, "int32": 4, "bool": 1}


def main(folder: pathlib.Path, target: pathlib.Path) -> None:
    sizes = {}
    for path in sorted(folder.glob("*.json.gz")):
        manifest = json.loads(gzip.open(path).read())
        floats = others = 0
        for _, dtype, shape in manifest["state_dict"]:
            if dtype == "float32":
                floats += math.prod(shape)
            else:
                others += math.prod(shape) * BYTES[dtype]
        sizes[manifest["model"]] = [manifest["params"], floats, others, len(manifest["state_dict"])]
    lines = ",\n".join(f'"{name}": {json.dumps(values)}' for name, values in sizes.items())
    target.write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
