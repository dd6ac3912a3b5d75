"""AVIF files for the comparisons: encoded by Pillow and imagecodecs, and put together in ways that they do not write. Needs
Pillow with AVIF, pillow-heif, imagecodecs and numpy.
"""

import io

import heif_files as heif
import imagecodecs
import numpy as np
from PIL import Image

# Color samples of each pixel, by the names of Pillow and of imagecodecs.
CHROMA = {"4:2:0": "yuv420", "4:2:2": "yuv422", "4:4:4": "yuv444", "4:0:0": "yuv400"}


def encode(values, bits=8, subsampling="4:2:0", quality=75, speed=9, **options):
    """Encodes samples in 0..1, [height, width, channels], with one to four channels; `options` are Pillow's, of 8 bits."""
    data = (values * (2**bits - 1)).round().astype("u1" if bits == 8 else "u2")
    if bits == 8:
        mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[data.shape[2]]
        out = io.BytesIO()
        image = Image.frombytes(mode, data.shape[1::-1], data.tobytes())
        image.save(out, "AVIF", quality=quality, speed=speed, subsampling=subsampling, **options)
        return out.getvalue()
    data = data[..., 0] if data.shape[2] == 1 else data
    return imagecodecs.avif_encode(
        data, quality, speed=speed, bitspersample=bits, pixelformat=CHROMA[subsampling], numthreads=1
    )


def with_properties(file, *properties, drop=heif.CHANGES):
    """A file whose image has these properties in place of those of some kinds."""
    items, primary = heif.read(file)
    items[primary].properties = [*heif.without(items[primary], *drop), *properties]
    return write(items, primary)


def with_coding(file, matrix=None, whole=True):
    """A file that says how its colors are coded, or leaves that to its stream."""
    stated = [] if matrix is None else [heif.nclx(1, 13, matrix, whole)]
    return with_properties(file, *stated, drop=(b"colr",))


def write(items, primary, brand=b"avif"):
    return heif.write(items, primary, brand=brand, compatible=b"avifmif1miaf")


def gridded(values, tile, **options):
    """A grid of tiles, with alpha of its own if there are channels for it."""
    height, width, channels = values.shape
    columns, rows = -(-width // tile), -(-height // tile)
    padded = np.pad(values, ((0, rows * tile - height), (0, columns * tile - width), (0, 0)), mode="edge")
    size = heif.ispe(width, height)
    items, colors, alphas = {}, [], []
    for row in range(rows):
        for column in range(columns):
            part = padded[row * tile : (row + 1) * tile, column * tile : (column + 1) * tile]
            found, primary = heif.read(encode(np.ascontiguousarray(part), **options))
            for number, item in found.items():
                new = 100 + len(items)
                items[new] = item
                item.references = []
                item.properties = heif.without(item, *heif.CHANGES)
                if number == primary:
                    colors.append(new)
                elif item.property(b"auxC"):
                    alphas.append(new)
                else:
                    del items[new]
    layout = heif.grid(columns, rows, width, height)
    shared = [found for found in items[colors[0]].properties if found[4:8] in (b"colr", b"pixi")]
    items[1] = heif.Item(b"grid", layout, [size, *shared], [(b"dimg", colors)])
    if alphas:
        kind = items[alphas[0]].property(b"auxC")
        pixels = [found for found in [items[alphas[0]].property(b"pixi")] if found]
        items[2] = heif.Item(b"grid", layout, [size, kind, *pixels], [(b"dimg", alphas), (b"auxl", [1])])
    return write(dict(sorted(items.items())), 1)


def drawn(rng, width, height, draw):
    """Returns a file of a kind that is drawn, and its name's end. `draw` makes samples, [height, width, channels] in 0..1."""
    channels = int(rng.choice([3, 3, 3, 4, 4, 1, 2]))
    bits = int(rng.choice([8, 8, 8, 10, 12]))
    chroma = "4:0:0" if channels < 3 else str(rng.choice(["4:2:0", "4:2:0", "4:2:2", "4:4:4"]))
    options = {"bits": bits, "subsampling": chroma, "quality": int(rng.choice([20, 50, 80, 95, 100]))}
    options["speed"] = int(rng.choice([6, 8, 9, 10]))
    if bits == 8 and rng.random() < 0.3:
        options["range"] = "limited"
    if bits == 8 and rng.random() < 0.2:
        options["advanced"] = {"film-grain-test": str(rng.integers(1, 17))}
    if bits == 8 and rng.random() < 0.2:
        options["tile_cols"] = options["tile_rows"] = 1
    if rng.random() < 0.2:
        width, height = 2 * (width // 2 + 1), 2 * (height // 2 + 1)
        file = gridded(draw(rng, width, height, channels), int(rng.choice([64, 100, 128])), **options)
    else:
        values = draw(rng, width, height, channels)
        if bits == 8 and channels == 3 and rng.random() < 0.1:
            frame = Image.frombytes("RGB", (width, height), rng.bytes(3 * width * height))
            return "avif", encode(values, **options, save_all=True, append_images=[frame])
        if bits == 8 and rng.random() < 0.2:
            exif = Image.Exif()
            exif[0x0112] = int(rng.integers(1, 9))
            options["exif"] = exif.tobytes()
        file = encode(values, **options)
    items, primary = heif.read(file)
    if rng.random() < 0.5:
        matrices = [1, 2, 4, 5, 6, 7, 8, 9]
        if chroma in ("4:4:4", "4:0:0"):
            matrices += [0, 16] if bits == 10 else [0]
        matrix = int(rng.choice(matrices))
        stated = heif.nclx(1, 13, matrix, matrix in (8, 16) or bool(rng.random() < 0.6))
        items[primary].properties = [*heif.without(items[primary], b"colr"), stated]
    elif rng.random() < 0.2:
        items[primary].properties = heif.without(items[primary], b"colr")
    if rng.random() < 0.4:
        clap = heif.clap(max(1, width // 2), max(1, height // 2), 0, 0)
        changes = [clap, heif.irot(int(rng.integers(4))), heif.imir(int(rng.integers(2)))]
        kept = [change for change in changes if rng.random() < 0.5]
        items[primary].properties = [*heif.without(items[primary], *heif.CHANGES), *kept]
    for found in items.values():
        found.inside = bool(rng.random() < 0.3)
        found.extents = int(rng.integers(1, 4)) if len(found.data) > 8 else 1
    return "avif", write(items, primary, brand=b"mif1" if rng.random() < 0.1 else b"avif")


def orientation(image):
    return image.getexif().get(0x0112, 1)
