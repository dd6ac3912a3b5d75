#!/usr/bin/env python3
"""Draws images in many encodings and writes the results of open_clip's evaluation transform.

    python scripts/compare_preprocess.py FOLDER [--count 300] [--seed 0]
    cargo xtask goldens preprocess FOLDER

The folder has the form of the preprocessing goldens: `manifest.json`, `images/`, `expected/`. Needs open_clip,
torchvision, Pillow and numpy, for the kind `heic` also pillow-heif, for `avif` also imagecodecs. An image that
Pillow cannot read or that the transform refuses is skipped and counted.
"""

import argparse
import io
import json
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import PIL
import torchvision
from open_clip import transform as open_clip_transform
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image, features

warnings.filterwarnings("ignore")


def draw(rng, width, height, channels):
    """Returns an image with gradients, edges and noise, [height, width, channels] in 0..1."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    out = np.zeros((height, width, channels))
    for channel in range(channels):
        a, b, c = rng.uniform(0.002, 0.3, 3)
        out[..., channel] = 0.5 + 0.3 * np.sin(a * x + b * y) + 0.2 * np.cos(c * (x - y))
    for _ in range(6):
        x0, y0 = rng.integers(0, width), rng.integers(0, height)
        x1, y1 = x0 + rng.integers(1, width + 1), y0 + rng.integers(1, height + 1)
        out[y0:y1, x0:x1] = rng.uniform(0, 1, channels)
    out += rng.normal(0, rng.choice([0.0, 0.02, 0.2]), out.shape)
    return out.clip(0, 1)


def to_bytes(image):
    return (image * 255).round().astype(np.uint8)


def saved(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


# ---------------------------------------------------------------- PNG


def pack(rows, bits):
    """Packs rows of small numbers, [height, samples], into bytes, row by row."""
    if bits == 16:
        return rows.astype(">u2").tobytes(), rows.shape[1] * 2
    if bits == 8:
        return rows.astype(np.uint8).tobytes(), rows.shape[1]
    per_byte = 8 // bits
    padded = np.zeros((rows.shape[0], -(-rows.shape[1] // per_byte) * per_byte), np.uint8)
    padded[:, : rows.shape[1]] = rows
    shifts = np.arange(per_byte)[::-1] * bits
    packed = (padded.reshape(rows.shape[0], -1, per_byte) << shifts).sum(-1).astype(np.uint8)
    return packed.tobytes(), packed.shape[1]


def png(rng, width, height):
    color, depths = [(0, [1, 2, 4, 8, 16]), (2, [8, 16]), (3, [1, 2, 4, 8]), (4, [8, 16]), (6, [8, 16])][
        rng.integers(5)
    ]
    bits = int(rng.choice(depths))
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    data = (draw(rng, width, height, channels) * (2**bits - 1)).round().astype(np.uint16)
    if color == 0 and bits == 16 and rng.random() < 0.7:
        data = data // 200
    interlaced = bool(rng.random() < 0.4)
    raw = b""
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    for x0, y0, dx, dy in passes:
        part = data[y0::dy, x0::dx]
        if part.size == 0:
            continue
        packed, stride = pack(part.reshape(part.shape[0], -1), bits)
        for row in range(part.shape[0]):
            raw += b"\0" + packed[row * stride : (row + 1) * stride]

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, interlaced))
    if color == 3:
        out += chunk(b"PLTE", rng.integers(0, 256, 3 * 2**bits, dtype=np.uint8).tobytes())
        if rng.random() < 0.5:
            out += chunk(b"tRNS", rng.integers(0, 256, rng.integers(1, 2**bits + 1), dtype=np.uint8).tobytes())
    elif color in (0, 2) and rng.random() < 0.3:
        out += chunk(b"tRNS", struct.pack(">" + "H" * channels, *[int(v) for v in data[0, 0]]))
    out += chunk(b"IDAT", zlib.compress(raw, 1)) + chunk(b"IEND", b"")
    return "png", out


# ---------------------------------------------------------------- JPEG, GIF, WebP


def jpeg(rng, width, height):
    mode = str(rng.choice(["RGB", "RGB", "RGB", "L", "CMYK"]))
    channels = len(mode)
    data = to_bytes(draw(rng, width, height, channels))
    image = Image.frombytes(mode, (width, height), data.tobytes())
    options = {
        "quality": int(rng.integers(20, 101)),
        "progressive": bool(rng.random() < 0.4),
        "optimize": bool(rng.random() < 0.3),
    }
    if mode != "L":
        options["subsampling"] = int(rng.integers(0, 3))
    if rng.random() < 0.3:
        options["restart_marker_blocks"] = int(rng.integers(1, 20))
    if mode == "RGB" and rng.random() < 0.1:
        options["keep_rgb"] = True
        options["subsampling"] = 0
    if rng.random() < 0.2:
        exif = Image.Exif()
        exif[0x0112] = int(rng.integers(1, 9))
        options["exif"] = exif
    return "jpg", saved(image, format="JPEG", **options)


def gif(rng, width, height):
    kind = rng.integers(4)
    data = to_bytes(draw(rng, width, height, 3))
    image = Image.frombytes("RGB", (width, height), data.tobytes())
    if kind == 0:
        return "gif", saved(image.convert("L"), format="GIF")
    image = image.quantize(int(rng.integers(2, 257)))
    options = {"interlace": int(rng.integers(0, 2))}
    if rng.random() < 0.4:
        options["transparency"] = 0
    if kind == 1:
        frames = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), image.transpose(Image.Transpose.ROTATE_180)]
        return "gif", saved(image, format="GIF", save_all=True, append_images=frames, **options)
    out = bytearray(saved(image, format="GIF", **options))
    if kind == 2:
        # A screen larger than the frame.
        struct.pack_into("<HH", out, 6, width + int(rng.integers(0, 30)), height + int(rng.integers(0, 30)))
    return "gif", bytes(out)


def webp(rng, width, height):
    channels = int(rng.choice([3, 4]))
    data = to_bytes(draw(rng, width, height, channels))
    if channels == 4 and rng.random() < 0.5:
        data[..., 3] = np.where(data[..., 3] > 128, 255, 0)
    image = Image.frombytes("RGB" if channels == 3 else "RGBA", (width, height), data.tobytes())
    options = {"lossless": bool(rng.random() < 0.4), "quality": int(rng.integers(10, 101)), "method": 0}
    if rng.random() < 0.2:
        other = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        options |= {"save_all": True, "append_images": [other], "duration": 100}
    lossless = "lossless" if options["lossless"] else "lossy"
    return f"{lossless}.webp", saved(image, format="WEBP", **options)


def heic(rng, width, height):
    import heif_files

    return heif_files.drawn(rng, width, height, draw)


def avif(rng, width, height):
    import avif_files

    return avif_files.drawn(rng, width, height, draw)


# ---------------------------------------------------------------- BMP


def bmp(rng, width, height):
    bits = int(rng.choice([1, 4, 8, 16, 24, 32]))
    flip = bool(rng.random() < 0.3)
    compression, masks, palette = 0, b"", b""
    if bits <= 8:
        data = (draw(rng, width, height, 1) * (2**bits - 1)).round().astype(np.uint8)
        colors = rng.integers(0, 256, (2**bits, 4), dtype=np.uint8)
        if bits != 4 and rng.random() < 0.4:
            colors = np.repeat(np.linspace(0, 255, 2**bits).astype(np.uint8)[:, None], 4, 1)
        palette = colors.tobytes()
        packed, stride = pack(data.reshape(height, -1), bits)
        if bits == 8 and not flip and rng.random() < 0.3:
            return "rle.bmp", bmp_file(width, height, bits, 1, b"", palette, rle8(data.reshape(height, -1)[::-1]))
    else:
        size = bits // 8
        packed, stride = to_bytes(draw(rng, width, height, size)).tobytes(), width * size
        if bits == 16 and rng.random() < 0.5:
            compression, masks = 3, struct.pack("<III", 0xF800, 0x7E0, 0x1F)
        if bits == 32 and rng.random() < 0.5:
            compression, masks = 3, struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)
    rows = [packed[at : at + stride].ljust(-(-stride // 4) * 4, b"\0") for at in range(0, len(packed), stride)]
    pixels = b"".join(rows if flip else rows[::-1])
    return "bmp", bmp_file(width, -height if flip else height, bits, compression, masks, palette, pixels)


def bmp_file(width, height, bits, compression, masks, palette, pixels):
    offset = 14 + 40 + len(masks) + len(palette)
    head = b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(pixels), 0, 0, 0, 0)
    return head + info + masks + palette + pixels


def rle8(rows):
    out = bytearray()
    for row in rows.tolist():
        x = 0
        while x < len(row):
            run = 1
            while run < 255 and x + run < len(row) and row[x + run] == row[x]:
                run += 1
            out += bytes([run, row[x]])
            x += run
        out += b"\0\0"
    return bytes(out) + b"\0\1"


# ---------------------------------------------------------------- TIFF


def tiff(rng, width, height):
    if rng.random() < 0.5:
        return pillow_tiff(rng, width, height)
    return raw_tiff(rng, width, height)


def pillow_tiff(rng, width, height):
    """Returns a TIFF compressed by Pillow and libtiff."""
    mode = str(rng.choice(["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "F", "I"]))
    if mode == "I;16":
        image = Image.fromarray((draw(rng, width, height, 1)[..., 0] * 400).astype(np.uint16))
    elif mode in ("F", "I"):
        data = draw(rng, width, height, 1)[..., 0] * 300 - 20
        image = Image.fromarray(data.astype(np.float32 if mode == "F" else np.int32))
    elif mode == "P":
        data = to_bytes(draw(rng, width, height, 3))
        image = Image.frombytes("RGB", (width, height), data.tobytes()).quantize(64)
    elif mode == "1":
        image = Image.fromarray(draw(rng, width, height, 1)[..., 0] > 0.5)
    else:
        data = to_bytes(draw(rng, width, height, {"L": 1, "LA": 2, "RGB": 3}.get(mode, 4)))
        image = Image.frombytes(mode, (width, height), data.tobytes())
    compressions = ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"]
    if mode in ("RGB", "L"):
        compressions.append("jpeg")
    compression = str(rng.choice(compressions))
    tags = {}
    if mode in ("RGB", "L", "RGBA") and compression in ("tiff_lzw", "tiff_adobe_deflate") and rng.random() < 0.5:
        tags[317] = 2
    if rng.random() < 0.2:
        tags[274] = int(rng.integers(1, 9))
    name = "jpeg.tif" if compression == "jpeg" else "tif"
    return name, saved(image, format="TIFF", compression=compression, tiffinfo=tags)


def raw_tiff(rng, width, height):
    """Returns an uncompressed TIFF of either byte order, in strips or tiles, interleaved or planar."""
    order = str(rng.choice(["<", ">"]))
    photometric, samples, bits, extra = [
        (0, 1, 1, None), (1, 1, 1, None), (0, 1, 4, None), (1, 1, 2, None), (0, 1, 8, None), (1, 1, 8, None),
        (1, 1, 16, None), (1, 2, 8, 0), (1, 2, 8, 1), (1, 2, 8, 2), (2, 3, 8, None), (2, 3, 16, None), (2, 4, 8, 0),
        (2, 4, 8, 1), (2, 4, 8, 2), (2, 4, 16, 2), (2, 4, 16, 1), (3, 1, 8, None), (3, 1, 4, None), (5, 4, 8, None),
        (5, 4, 16, None),
    ][rng.integers(21)]  # fmt: skip
    data = (draw(rng, width, height, samples) * (2**bits - 1)).round()
    if samples == 1 and bits == 16:
        data = data // 150
    data = data.astype(np.uint16)
    planar = bool(samples > 1 and bits == 8 and extra is None and rng.random() < 0.3)
    # Pillow misreads planar uncompressed tiles, and cannot read tiles of small samples.
    tiled = bool(not planar and bits == 8 and rng.random() < 0.4)
    tile = (16 * int(rng.integers(1, 5)), 16 * int(rng.integers(1, 5))) if tiled else None
    chunks = []
    for plane in [data[..., i : i + 1] for i in range(samples)] if planar else [data]:
        if tiled:
            for top in range(0, height, tile[1]):
                for left in range(0, width, tile[0]):
                    cell = np.zeros((tile[1], tile[0], samples), np.uint16)
                    part = plane[top : top + tile[1], left : left + tile[0]]
                    cell[: part.shape[0], : part.shape[1]] = part
                    chunks.append(cell)
        else:
            rows = int(rng.integers(1, height + 1))
            chunks += [plane[top : top + rows] for top in range(0, height, rows)] if not planar else [plane]
            rows = height if planar else rows
    encoded = []
    for chunk in chunks:
        flat = chunk.reshape(chunk.shape[0], -1)
        encoded.append(flat.astype(order + "u2").tobytes() if bits == 16 else pack(flat, bits)[0])
    body, offsets = b"", []
    for chunk in encoded:
        offsets.append(8 + len(body))
        body += chunk + b"\0" * (len(chunk) % 2)
    tags = {
        256: ("H", [width]), 257: ("H", [height]), 258: ("H", [bits] * samples), 259: ("H", [1]),
        262: ("H", [photometric]), 277: ("H", [samples]), 284: ("H", [2 if planar else 1]),
    }  # fmt: skip
    if tiled:
        tags |= {322: ("H", [tile[0]]), 323: ("H", [tile[1]]), 324: ("I", offsets)}
        tags[325] = ("I", [len(chunk) for chunk in encoded])
    else:
        tags |= {273: ("I", offsets), 278: ("H", [rows]), 279: ("I", [len(chunk) for chunk in encoded])}
    if extra is not None:
        tags[338] = ("H", [extra])
    if photometric == 3:
        tags[320] = ("H", [int(v) for v in rng.integers(0, 65536, 3 * 2**bits)])
    if rng.random() < 0.2:
        tags[274] = ("H", [int(rng.integers(1, 9))])
    at = 8 + len(body)
    entries, values = b"", b""
    values_at = at + 2 + 12 * len(tags) + 4
    for tag, (kind, numbers) in sorted(tags.items()):
        packed = struct.pack(order + kind * len(numbers), *numbers)
        if len(packed) <= 4:
            field = packed.ljust(4, b"\0")
        else:
            field = struct.pack(order + "I", values_at + len(values))
            values += packed + b"\0" * (len(packed) % 2)
        entries += struct.pack(order + "HHI", tag, {"H": 3, "I": 4}[kind], len(numbers)) + field
    magic = b"II*\0" if order == "<" else b"MM\0*"
    head = magic + struct.pack(order + "I", at)
    return "raw.tif", head + body + struct.pack(order + "H", len(tags)) + entries + b"\0" * 4 + values


# ---------------------------------------------------------------- cases


def config(rng):
    side = lambda: int(rng.choice([32, 64, 112, 224, 256, 336])) if rng.random() < 0.7 else int(rng.integers(1, 300))
    size = side()
    if rng.random() < 0.4:
        size = [size, side()]
    return {
        "size": size,
        "mode": "RGB",
        "mean": [float(np.float32(v)) for v in rng.uniform(0, 1, 3)],
        "std": [float(np.float32(v)) for v in rng.uniform(0.1, 1, 3)],
        "interpolation": str(rng.choice(["bicubic", "bilinear"])),
        "resize_mode": str(rng.choice(["shortest", "longest", "squash"])),
        "fill_color": int(rng.choice([0, 0, 255, int(rng.integers(0, 256))])),
    }


def size(rng):
    kind = rng.integers(5)
    if kind == 0:
        return int(rng.integers(1, 40)), int(rng.integers(1, 40))
    if kind == 1:
        return int(rng.integers(1, 30)), int(rng.integers(100, 900))
    if kind == 2:
        return int(rng.integers(100, 900)), int(rng.integers(1, 30))
    return int(rng.integers(30, 700)), int(rng.integers(30, 700))


def expected(data, settings):
    """Returns the crop before `ToTensor`, and the mean of each channel after the whole transform."""
    cfg = PreprocessCfg(**{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()})
    whole = image_transform_v2(cfg, is_train=False)
    image = Image.open(io.BytesIO(data))
    mode, image_size = image.mode, image.size
    crop = image
    for step in whole.transforms:
        if isinstance(step, open_clip_transform.MaybeToTensor):
            break
        crop = step(crop)
    tensor = whole(Image.open(io.BytesIO(data)))
    return mode, image_size, crop, [float(channel.double().mean()) for channel in tensor]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=Path, help="take the images of this folder instead of drawing some")
    parser.add_argument("--most", type=int, help="pixels of the longest side")
    parser.add_argument("--kinds", nargs="+", default=["png", "jpeg", "gif", "webp", "bmp", "tiff"])
    arguments = parser.parse_args()
    (arguments.folder / "images").mkdir(parents=True)
    (arguments.folder / "expected").mkdir()
    configs, cases, left_out = {}, [], {}
    given = sorted(arguments.images.iterdir()) if arguments.images else []
    for index in range(len(given) or arguments.count):
        rng = np.random.default_rng([arguments.seed, index])
        if given:
            kind, name, data = given[index].suffix, given[index].name, given[index].read_bytes()
        else:
            kind = arguments.kinds[index % len(arguments.kinds)]
            width, height = size(rng)
            most = arguments.most or max(width, height)
            name, data = globals()[kind](rng, min(width, most), min(height, most))
        settings = config(rng)
        try:
            mode, image_size, crop, mean = expected(data, settings)
        except Exception as error:  # Pillow raises many types.
            reason = f"{kind}: {type(error).__name__}: {error}"
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        image_name, config_name = f"{index:05}.{name}", f"config{index}"
        (arguments.folder / "images" / image_name).write_bytes(data)
        crop.info = {}
        crop.save(arguments.folder / "expected" / f"{image_name}.{config_name}.png", compress_level=1)
        configs[config_name] = settings
        cases.append({
            "image": image_name, "config": config_name, "mode": mode, "size": list(image_size),
            "expected": f"{image_name}.{config_name}.png", "mean": mean,
        })  # fmt: skip
    manifest = {
        "pillow": PIL.__version__, "libjpeg_turbo": features.version("libjpeg_turbo"),
        "torchvision": torchvision.__version__, "configs": configs, "cases": cases,
    }  # fmt: skip
    (arguments.folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
    print(f"{len(cases)} cases written")
    for reason, count in sorted(left_out.items()):
        print(f"left out {count}: {reason}")


if __name__ == "__main__":
    main()
