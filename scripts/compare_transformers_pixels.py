#!/usr/bin/env python3
"""Draws transformers folders and images, and writes the pixels that transformers computes.

    python scripts/compare_transformers_pixels.py FOLDER [--images 200] [--processors 60] [--seed 0]
    cargo xtask goldens processors FOLDER

`FOLDER/images` holds the images. Each folder in `FOLDER/folders` is a small random model with processor files in the
style of versions 4 and 5. `FOLDER/expected/NAME.safetensors` holds the results of that folder's
`AutoImageProcessor.from_pretrained` for each image, opened by Pillow: `NUMBER.torchvision` and `NUMBER.pil`, one per
backend. If the result does not have the tower's size, there is no entry, and clipway must refuse the image. Processors
that do not convert to RGB accept only RGB images in transformers: others are first converted by `Image.convert("RGB")`.

`--stored` writes the few small ones that the tests of clipway-run keep in `tests/data/processors`. Needs transformers,
torchvision, Pillow, safetensors and numpy.
"""

import argparse
import io
import json
import os
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import compare_preprocess as drawn
import numpy as np
import PIL
import torch
import torchvision
import transformers
from PIL import Image
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(1)

KINDS = ["png", "jpeg", "gif", "webp", "bmp", "tiff"]


# ---------------------------------------------------------------- images


def image(rng, index):
    """Returns an image whose kind and size depend on the index, with its suffix."""
    special = {0: (1, 1), 1: (9000, 60), 2: (3, 700), 3: (32, 32), 4: (90, 57), 5: (57, 90), 6: (64, 64), 7: (31, 33)}
    width, height = special[index % 40] if index % 40 in special else drawn.size(rng)
    if index % 40 == 8:
        width = height = int(rng.integers(2, 90))
    kind = KINDS[index % len(KINDS)] if index >= 8 else ["png", "jpeg"][index % 2]
    return getattr(drawn, kind)(rng, width, height)


# ---------------------------------------------------------------- folders


def number(rng, low, high):
    return float(np.float32(rng.uniform(low, high)))


def processor(rng, index):
    """Returns the keys of a processor, and the side of the tower that takes its results."""
    side = int(rng.choice([8, 16, 32, 48, 64, int(rng.integers(5, 70))]))
    siglip = bool(index % 3 == 2)
    keys = {"image_processor_type": "SiglipImageProcessor" if siglip else "CLIPImageProcessor"}
    crop = bool(rng.random() < (0.2 if siglip else 0.8))
    kind = rng.integers(8)
    more = side + int(rng.integers(0, 30))
    if crop:
        less = max(1, side - int(rng.integers(0, 5)))
        shortest = int(rng.choice([side, side, more, less]))
        keys["size"] = [
            {"shortest_edge": shortest}, {"shortest_edge": shortest}, shortest, {"height": more, "width": side},
            {"shortest_edge": shortest, "longest_edge": more + 9}, {"max_height": more, "max_width": side + 7},
            [side, more], {"shortest_edge": shortest},
        ][kind]  # fmt: skip
        keys["crop_size"] = [side, {"height": side, "width": side}, [side, side]][rng.integers(3)]
        keys["do_center_crop"] = True
    else:
        exact = {"height": side, "width": side}
        keys["size"] = [exact, exact, exact, [side, side], {"shortest_edge": side}, exact, exact, exact][kind]
        if not siglip or rng.random() < 0.3:
            keys["do_center_crop"] = None if siglip and rng.random() < 0.5 else False
    keys["resample"] = int(rng.choice([3, 3, 3, 2, 2, 1, 0, 4, 5]))
    if rng.random() < 0.5:
        keys["image_mean"] = [number(rng, 0, 1) for _ in range(3)]
        keys["image_std"] = [number(rng, 0.1, 1) for _ in range(3)]
    if rng.random() < 0.15:
        keys["rescale_factor"] = float(rng.choice([1 / 255, 1 / 127.5, 1 / 256, 0.00392156862745098, 1.0]))
    for step, chance in (("do_rescale", 0.12), ("do_normalize", 0.12), ("do_resize", 0.06 if crop else 0)):
        if rng.random() < chance:
            keys[step] = False
    if rng.random() < 0.12:
        keys["do_convert_rgb"] = [None, False][rng.integers(2)]
    if rng.random() < 0.06 and "do_center_crop" in keys and not keys["do_center_crop"]:
        side += 5
        keys |= {"do_pad": True, "pad_size": {"height": side, "width": side}}
    return keys, side


def written(rng, folder, keys):
    """Writes the files of a processor as one of the versions does."""
    keys = dict(keys)
    name = keys["image_processor_type"]
    style = rng.integers(6)
    if style == 0:
        keys["image_processor_type"] = name + str(rng.choice(["Fast", "Pil"]))
    elif style == 1:
        del keys["image_processor_type"]
        keys["feature_extractor_type"] = name.replace("ImageProcessor", "FeatureExtractor")
    elif style == 2:
        del keys["image_processor_type"]
    if style >= 4:
        nested = {"image_processor": keys, "processor_class": name.replace("ImageProcessor", "Processor")}
        (folder / "processor_config.json").write_text(json.dumps(nested, indent=2))
        if style == 5:
            stale = {"image_processor_type": name, "image_mean": [0.1, 0.2, 0.3], "size": 7, "crop_size": 7}
            (folder / "preprocessor_config.json").write_text(json.dumps(stale, indent=2))
    else:
        (folder / "preprocessor_config.json").write_text(json.dumps(keys, indent=2))


def model(folder, siglip, side):
    """Saves a small random model whose tower takes images of this side."""
    torch.manual_seed(0)
    tower = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    text = tower | {"vocab_size": 16, "max_position_embeddings": 8}
    vision = tower | {"image_size": side, "patch_size": side}
    if siglip:
        config = transformers.SiglipConfig(text_config=text | {"projection_size": 8}, vision_config=vision)
        transformers.SiglipModel(config).save_pretrained(folder)
    else:
        config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
        transformers.CLIPModel(config).save_pretrained(folder)


# ---------------------------------------------------------------- the pixels of transformers


def pixels(processor, image, side):
    """Returns the pixels of an image, or `None` if they do not fit the tower."""
    if not processor.do_convert_rgb and image.mode != "RGB":
        image = image.convert("RGB")
    try:
        values = processor(image, return_tensors="pt")["pixel_values"]
    except (ValueError, RuntimeError, MemoryError) as error:
        # A side without pixels, or a result larger than its frame.
        if any(said in str(error) for said in ("Padding dimensions", "Input and output sizes", "must be > 0")):
            return None
        raise
    return values[0].float().contiguous() if values.shape == (1, 3, side, side) else None


def expected(folder, side, images):
    """Returns tensors by `NUMBER.BACKEND`."""
    out = {}
    for backend in ("torchvision", "pil"):
        processor = transformers.AutoImageProcessor.from_pretrained(folder, backend=backend)
        assert processor.backend == backend
        own = transformers.AutoImageProcessor.from_pretrained(folder)
        assert own.backend == "torchvision", own.backend
        if backend == "torchvision" and processor.do_resize and int(processor.resample) in (4, 5):
            # torchvision refuses these, which leaves only the Pillow backend.
            continue
        for number, data in enumerate(images):
            found = pixels(processor, Image.open(io.BytesIO(data)), side)
            if found is not None:
                out[f"{number}.{backend}"] = found
    return out


def stored_images():
    """Returns small images of every mode and every kind of transparency, by name."""
    rng = np.random.default_rng(0)

    def drawn_as(mode, width, height):
        channels = {"L": 1, "1": 1, "LA": 2, "RGB": 3, "P": 3, "I;16": 1, "F": 1}.get(mode, 4)
        data = drawn.draw(rng, width, height, channels)
        if mode == "I;16":
            return Image.fromarray((data[..., 0] * 400).astype(np.uint16))
        if mode == "F":
            return Image.fromarray((data[..., 0] * 300 - 20).astype(np.float32))
        if mode == "1":
            return Image.fromarray(data[..., 0] > 0.5)
        if mode == "P":
            return Image.frombytes("RGB", (width, height), drawn.to_bytes(data).tobytes()).quantize(32)
        return Image.frombytes(mode, (width, height), drawn.to_bytes(data).tobytes())

    turned = Image.Exif()
    turned[0x0112] = 6
    gray, color, bits = drawn_as("L", 12, 9), drawn_as("RGB", 9, 12), drawn_as("1", 14, 11)
    palette = drawn_as("P", 13, 13)
    flipped = palette.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return {
        "alpha.png": drawn.saved(drawn_as("RGBA", 15, 10), format="PNG"),
        "gray_alpha.png": drawn.saved(drawn_as("LA", 10, 15), format="PNG"),
        "gray_transparent.png": drawn.saved(gray, format="PNG", transparency=gray.getpixel((3, 3))),
        "color_transparent.png": drawn.saved(color, format="PNG", transparency=color.getpixel((3, 3))),
        "bits_transparent.png": drawn.saved(bits, format="PNG", transparency=1),
        "palette_alphas.png": drawn.saved(palette, format="PNG", transparency=bytes(range(0, 256, 8))),
        "palette_transparent.gif": drawn.saved(palette, format="GIF", transparency=5),
        "animated.gif": drawn.saved(palette, format="GIF", save_all=True, append_images=[flipped]),
        "gray16.png": drawn.saved(drawn_as("I;16", 11, 8), format="PNG"),
        "real.tif": drawn.saved(drawn_as("F", 8, 11), format="TIFF"),
        "inks.jpg": drawn.saved(drawn_as("CMYK", 16, 12), format="JPEG"),
        "turned.jpg": drawn.saved(drawn_as("RGB", 19, 12), format="JPEG", exif=turned),
        "alpha.webp": drawn.saved(drawn_as("RGBA", 12, 16), format="WEBP", lossless=True),
        "one.png": drawn.saved(drawn_as("RGB", 1, 1), format="PNG"),
        "long.png": drawn.saved(drawn_as("RGB", 70, 3), format="PNG"),
        "square.png": drawn.saved(drawn_as("RGB", 6, 6), format="PNG"),
    }


def stored_processors():
    """Returns a few processors, with the sides of their towers."""
    shortest = {"size": {"shortest_edge": 6}, "crop_size": 6}
    return {
        "clip": ({"image_processor_type": "CLIPImageProcessor", **shortest}, 6),
        "siglip": ({"image_processor_type": "SiglipImageProcessor", "size": {"height": 5, "width": 5}}, 5),
        "bilinear-cut": ({"size": 9, "crop_size": {"height": 6, "width": 6}, "resample": 2, "do_normalize": False}, 6),
        "lanczos-bytes": ({**shortest, "resample": 1, "do_rescale": False, "do_normalize": False}, 6),
        "nearest": ({**shortest, "resample": 0, "do_rescale": False}, 6),
        "box": ({**shortest, "resample": 4, "rescale_factor": 1 / 127.5}, 6),
        "whole": ({"do_resize": False, "crop_size": 7}, 7),
        "plain": ({**shortest, "do_convert_rgb": None}, 6),
        "no-crop": ({"size": {"shortest_edge": 6}, "do_center_crop": False}, 6),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--processors", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stored", action="store_true", help="the images and processors of the tests")
    arguments = parser.parse_args()
    for part in ("images", "folders", "expected"):
        (arguments.folder / part).mkdir(parents=True)
    names, images, left_out = [], [], 0
    if arguments.stored:
        for name, data in stored_images().items():
            names.append(name)
            images.append(data)
            (arguments.folder / "images" / name).write_bytes(data)
    else:
        for index in range(arguments.images):
            suffix, data = image(np.random.default_rng([arguments.seed, 0, index]), index)
            try:
                Image.open(io.BytesIO(data)).convert("RGB")
            except Exception:  # Pillow raises many types.
                left_out += 1
                continue
            names.append(f"{len(images):05}.{suffix}")
            images.append(data)
            (arguments.folder / "images" / names[-1]).write_bytes(data)
    folders, cases = {}, 0
    if arguments.stored:
        processors = stored_processors()
    else:
        drawn_processors = (processor(np.random.default_rng([arguments.seed, 1, i]), i) for i in range(arguments.processors))
        processors = {f"{i:03}": one for i, one in enumerate(drawn_processors)}
    for index, (name, (keys, side)) in enumerate(processors.items()):
        folder = arguments.folder / "folders" / name
        model(folder, keys.get("image_processor_type", "").startswith("Siglip"), side)
        rng = np.random.default_rng([arguments.seed, 2, index])
        if arguments.stored:
            (folder / "preprocessor_config.json").write_text(json.dumps(keys, indent=2) + "\n")
        else:
            written(rng, folder, keys)
        found = expected(folder, side, images)
        save_file(found, arguments.folder / "expected" / f"{name}.safetensors")
        folders[name] = keys
        cases += len(found)
    manifest = {
        "transformers": transformers.__version__, "torch": torch.__version__, "torchvision": torchvision.__version__,
        "pillow": PIL.__version__, "images": names,
        "left_out": [name for name, keys in folders.items()
                     if keys.get("resample") in (4, 5) and keys.get("do_resize", True)],
    }  # fmt: skip
    (arguments.folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    print(f"{len(images)} images ({left_out} that Pillow cannot convert left out), {len(folders)} folders, {cases} results")


if __name__ == "__main__":
    main()
