#!/usr/bin/env python3
"""Writes the small images in `crates/clipway-run/tests/data/images`: every variant of each format.

    python scripts/make_image_samples.py

Needs Pillow, numpy and the drawing code of `compare_preprocess.py`. The tests truncate and damage them.
"""

import struct
import zlib
from pathlib import Path

import numpy as np
from compare_preprocess import bmp_file, draw, pack, rle8, saved, to_bytes
from PIL import Image

WIDTH, HEIGHT = 45, 38
OUT = Path(__file__).parent.parent / "crates/clipway-run/tests/data/images"


def image(rng, mode):
    data = to_bytes(draw(rng, WIDTH, HEIGHT, len(mode)))
    return Image.frombytes(mode, (WIDTH, HEIGHT), data.tobytes())


def interlaced_png(image):
    """Returns an interlaced PNG, which Pillow cannot write."""
    data = np.asarray(image)
    raw = b""
    for x0, y0, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        part = data[y0::dy, x0::dx]
        packed, stride = pack(part.reshape(part.shape[0], -1), 8)
        raw += b"".join(b"\0" + packed[at : at + stride] for at in range(0, len(packed), stride))

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", *image.size, 8, 2, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def rle4(rows):
    """Returns run lengths of 4-bit indices: a run and a literal part in each row."""
    out = b""
    for row in rows:
        row = [int(value) for value in row]
        out += bytes([7, row[0] << 4 | row[1]])
        literal = row[7:]
        pairs = literal + [0] * (-len(literal) % 4)
        out += bytes([0, len(literal)]) + bytes(a << 4 | b for a, b in zip(pairs[::2], pairs[1::2], strict=True))
        out += b"\0\0"
    return out + b"\0\1"


def main():
    rng = np.random.default_rng(0)
    rgb, rgba, gray, cmyk = (image(rng, mode) for mode in ("RGB", "RGBA", "L", "CMYK"))
    palette = rgb.quantize(50)
    sixteen = Image.fromarray((draw(rng, WIDTH, HEIGHT, 1)[..., 0] * 65535).astype(np.uint16))
    other = rgb.transpose(Image.Transpose.ROTATE_180)
    indices = np.asarray(palette)
    colors = rng.integers(0, 256, (256, 4), dtype=np.uint8).tobytes()
    samples = {
        "baseline.jpg": saved(rgb, format="JPEG", quality=80),
        "422.jpg": saved(rgb, format="JPEG", quality=80, subsampling=1),
        "444.jpg": saved(rgb, format="JPEG", quality=80, subsampling=0),
        "progressive.jpg": saved(rgb, format="JPEG", quality=80, progressive=True),
        "restarts.jpg": saved(rgb, format="JPEG", quality=80, restart_marker_blocks=2),
        "gray.jpg": saved(gray, format="JPEG", quality=80),
        "gray_progressive.jpg": saved(gray, format="JPEG", quality=80, progressive=True),
        "cmyk.jpg": saved(cmyk, format="JPEG", quality=80),
        "rgb.png": saved(rgb, format="PNG"),
        "rgba.png": saved(rgba, format="PNG"),
        "gray16.png": saved(sixteen, format="PNG"),
        "palette.png": saved(palette, format="PNG"),
        "bilevel.png": saved(gray.convert("1"), format="PNG"),
        "interlaced.png": interlaced_png(rgb),
        "plain.gif": saved(palette, format="GIF", interlace=0),
        "interlaced.gif": saved(palette, format="GIF", interlace=1),
        "animated.gif": saved(palette, format="GIF", save_all=True, append_images=[other.quantize(50)]),
        "lossy.webp": saved(rgb, format="WEBP", quality=80),
        "lossless.webp": saved(rgb, format="WEBP", lossless=True),
        "lossy_alpha.webp": saved(rgba, format="WEBP", quality=80),
        "animated.webp": saved(rgb, format="WEBP", save_all=True, append_images=[other], quality=80),
        "rgb.bmp": saved(rgb, format="BMP"),
        "palette.bmp": saved(palette, format="BMP"),
        "rle8.bmp": bmp_file(WIDTH, HEIGHT, 8, 1, b"", colors, rle8(indices[::-1])),
        "rle4.bmp": bmp_file(WIDTH, HEIGHT, 4, 2, b"", colors[:64], rle4(indices[::-1] % 16)),
    }
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        name = compression.removeprefix("tiff_").removeprefix("adobe_")
        samples[f"{name}.tif"] = saved(rgb, format="TIFF", compression=compression, tiffinfo={278: 8})
    OUT.mkdir(exist_ok=True, parents=True)
    for name, data in samples.items():
        (OUT / name).write_bytes(data)


if __name__ == "__main__":
    main()
