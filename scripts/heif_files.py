"""HEIF files for the comparisons: taken apart, and put together in ways that encoders do not write. HEIC files are drawn and
encoded by pillow-heif, AVIF files in `avif_files.py`. Needs Pillow, pillow-heif and numpy.
"""

import io
import struct
from dataclasses import dataclass, field

import pillow_heif
from PIL import Image

pillow_heif.register_heif_opener()

# Kinds of properties that change how an image is shown.
CHANGES = (b"irot", b"imir", b"clap")
ALPHA = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0"


def box(kind, *parts):
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def full(kind, version, flags, *parts):
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def boxes(data):
    """Yields kind and contents of each box."""
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        size = size or len(data) - at
        yield kind, data[at + head : at + size]
        at += size


def inner(data, kind):
    return next(body for found, body in boxes(data) if found == kind)


@dataclass
class Item:
    kind: bytes
    data: bytes
    # Boxes, in their order.
    properties: list = field(default_factory=list)
    # Kind and items of each reference.
    references: list = field(default_factory=list)
    # Whether its data lies in `idat`.
    inside: bool = False
    # Into how many extents its data is cut.
    extents: int = 1

    def property(self, kind):
        return next((found for found in self.properties if found[4:8] == kind), None)


def without(item, *kinds):
    """The properties of an item that are of other kinds."""
    return [found for found in item.properties if found[4:8] not in kinds]


def turned_exif():
    """EXIF data that ask for a quarter turn, with the date taken."""
    found = Image.Exif()
    found[0x0112] = 6
    found.get_ifd(0x8769)[0x9003] = "2024:05:07 14:34:56"
    return found.tobytes()


def write_pixels(image, path):
    """Writes what Pillow reads from a file, and nothing else that it says."""
    pixels = Image.frombytes(image.mode, image.size, image.tobytes())
    pixels.save(path, compress_level=9)


def read(file):
    """Returns the items of a file by number, and the number of the primary one."""
    meta = inner(file, b"meta")[4:]
    primary = struct.unpack(">H", inner(meta, b"pitm")[4:6])[0]
    kinds = {}
    for _, body in boxes(inner(meta, b"iinf")[6:]):
        kinds[struct.unpack_from(">H", body, 4)[0]] = body[8:12]
    iprp = inner(meta, b"iprp")
    properties = [box(kind, body) for kind, body in boxes(inner(iprp, b"ipco"))]
    ipma = inner(iprp, b"ipma")
    version, wide = ipma[0], ipma[3] & 1
    at, own = 8, {}
    for _ in range(struct.unpack_from(">I", ipma, 4)[0]):
        number = struct.unpack_from(">I" if version else ">H", ipma, at)[0]
        at += 4 if version else 2
        count, at = ipma[at], at + 1
        indices = struct.unpack_from(f">{count}{'H' if wide else 'B'}", ipma, at)
        at += count * (2 if wide else 1)
        own[number] = [properties[(index & (0x7FFF if wide else 0x7F)) - 1] for index in indices]
    iloc = inner(meta, b"iloc")
    version = iloc[0]
    idat = next((body for kind, body in boxes(meta) if kind == b"idat"), b"")
    sizes = [iloc[4] >> 4, iloc[4] & 15, iloc[5] >> 4, iloc[5] & 15 if version else 0]
    at = 6

    def number(size):
        nonlocal at
        at += size
        return int.from_bytes(iloc[at - size : at], "big")

    data = {}
    for _ in range(number(2 if version < 2 else 4)):
        item = number(2 if version < 2 else 4)
        method = number(2) & 15 if version else 0
        number(2)
        base, parts = number(sizes[2]), []
        for _ in range(number(2)):
            number(sizes[3])
            start = base + number(sizes[0])
            parts.append((idat if method else file)[start : start + number(sizes[1])])
        data[item] = b"".join(parts)
    references = {}
    for kind, body in boxes(next((body for kind, body in boxes(meta) if kind == b"iref"), b"\0" * 4)[4:]):
        source, count = struct.unpack_from(">HH", body)
        references.setdefault(source, []).append((kind, list(struct.unpack_from(f">{count}H", body, 4))))
    items = {
        number: Item(kind, data[number], own.get(number, []), references.get(number, [])) for number, kind in kinds.items()
    }
    return items, primary


def write(items, primary, brand=b"heic", compatible=b"mif1heic"):
    """Puts a file together."""
    shared, own = [], b""
    for number, item in items.items():
        indices = []
        for found in item.properties:
            if found not in shared:
                shared.append(found)
            # Properties without which an item cannot be shown are essential.
            essential = 0x80 if found[4:8] in (b"hvcC", b"av1C", b"irot", b"imir", b"clap") else 0
            indices.append(essential | shared.index(found) + 1)
        own += struct.pack(">HB", number, len(indices)) + bytes(indices)
    assert len(shared) < 128
    described = [
        full(b"infe", 2, 0, struct.pack(">HH4s", number, 0, item.kind), b"\0") for number, item in items.items()
    ]
    references = [
        box(kind, struct.pack(f">HH{len(to)}H", number, len(to), *to))
        for number, item in items.items()
        for kind, to in item.references
    ]
    idat = b"".join(item.data for item in items.values() if item.inside)

    def meta(start):
        lines, outside, within = b"", start, 0
        for number, item in items.items():
            place = within if item.inside else outside
            lines += struct.pack(">HHHIH", number, int(item.inside), 0, place, item.extents)
            size = -(-len(item.data) // item.extents)
            for at in range(0, size * item.extents, size):
                lines += struct.pack(">II", at, max(0, min(size, len(item.data) - at)))
            if item.inside:
                within += len(item.data)
            else:
                outside += len(item.data)
        iloc = full(b"iloc", 1, 0, bytes([0x44, 0x40]), struct.pack(">H", len(items)), lines)
        return full(
            b"meta", 0, 0,
            full(b"hdlr", 0, 0, b"\0\0\0\0pict", b"\0" * 13),
            full(b"pitm", 0, 0, struct.pack(">H", primary)),
            iloc,
            full(b"iinf", 0, 0, struct.pack(">H", len(described)), *described),
            full(b"iref", 0, 0, *references) if references else b"",
            box(b"iprp", box(b"ipco", *shared), full(b"ipma", 0, 0, struct.pack(">I", len(items)), own)),
            box(b"idat", idat) if idat else b"",
        )  # fmt: skip

    head = box(b"ftyp", brand, b"\0\0\0\0", compatible)
    start = len(head) + len(meta(0)) + 8
    return head + meta(start) + box(b"mdat", *(item.data for item in items.values() if not item.inside))


def encode(mode, size, data, **options):
    """Encodes samples, of 8 bits or of 16 in modes that end in `;16`."""
    out = io.BytesIO()
    if mode.endswith(";16"):
        pillow_heif.encode(mode, size, data, out, **options)
    else:
        Image.frombytes(mode, size, data).save(out, format="HEIF", **options)
    return out.getvalue()


def ispe(width, height):
    return full(b"ispe", 0, 0, struct.pack(">II", width, height))


def irot(quarters):
    return box(b"irot", bytes([quarters]))


def imir(axis):
    return box(b"imir", bytes([axis]))


def clap(width, height, across, down, parts=(1, 1)):
    """A clean aperture: its size, and its center's place in units of 1/parts."""
    return box(b"clap", struct.pack(">IIIIiIiI", width, 1, height, 1, across, parts[0], down, parts[1]))


def nclx(primaries, transfer, matrix, whole):
    return box(b"colr", b"nclx", struct.pack(">HHHB", primaries, transfer, matrix, 0x80 if whole else 0))


def grid(columns, rows, width, height, wide=False):
    size = struct.pack(">II" if wide else ">HH", width, height)
    return bytes([0, int(wide), rows - 1, columns - 1]) + size


def drawn(rng, width, height, draw):
    """Returns a file of a kind that is drawn, and its name's end. `draw` makes samples, [height, width, channels] in 0..1."""
    mode = str(rng.choice(["RGB", "RGB", "RGB", "RGB;16", "RGBA", "RGBA;16", "L", "L;16", "LA"]))
    most = 65535 if mode.endswith(";16") else 255
    values = draw(rng, width, height, len(mode.split(";")[0])) * most
    data = values.round().astype("<u2" if most > 255 else "u1").tobytes()
    options = {"quality": int(rng.choice([-1, 20, 50, 80, 95])), "chroma": int(rng.choice([420, 420, 420, 422, 444]))}
    if most > 255:
        options["bit_depth"] = int(rng.choice([10, 12]))
    if rng.random() < 0.4:
        options["matrix_coefficients"] = int(rng.choice([1, 5, 6, 9]))
    if options["quality"] == -1 and options["chroma"] == 444 and rng.random() < 0.5:
        options["matrix_coefficients"] = 0
    # What libheif makes of limited range when it interpolates colors for a turn is left out.
    is_plain = rng.random() < 0.4
    if is_plain and rng.random() < 0.7:
        options["full_range_flag"] = 0
    if is_plain and rng.random() < 0.4:
        options["save_nclx_profile"] = False
    if rng.random() < 0.3:
        options["tile_size"] = int(rng.choice([64, 100, 128, 256]))
    if not is_plain and rng.random() < 0.5:
        exif = Image.Exif()
        exif[0x0112] = int(rng.integers(1, 9))
        options["exif"] = exif.tobytes()
    # libheif refuses thumbnails of small and of narrow images.
    if rng.random() < 0.2 and min(width, height) > 32 and 8 * min(width, height) > max(width, height):
        options["thumbnails"] = [32]
    tree = str(rng.choice([16, 32, 64]))
    options["enc_params"] = {"x265:ctu": tree, "x265:wpp": str(rng.integers(2))}
    file = encode(mode, (width, height), data, **options)
    if not is_plain:
        file = changed(rng, *read(file))
    return "heic", file


def changed(rng, items, primary):
    """Gives a file's image turns, mirrors and crops, and moves its data."""
    item = items[primary]
    width, height = struct.unpack(">II", item.property(b"ispe")[12:])
    changes = []
    for kind in rng.permutation(3)[: rng.integers(0, 3)]:
        if kind == 0:
            changes.append(irot(int(rng.integers(4))))
        elif kind == 1:
            changes.append(imir(int(rng.integers(2))))
        else:
            kept = int(rng.integers(1, width + 1)), int(rng.integers(1, height + 1))
            parts = int(rng.choice([1, 2])), int(rng.choice([1, 2]))
            changes.append(clap(*kept, int(rng.integers(-3, 4)), int(rng.integers(-3, 4)), parts))
    if rng.random() < 0.5:
        item.properties = without(item, *CHANGES)
    item.properties += changes
    for found in items.values():
        found.inside = bool(rng.random() < 0.3)
        found.extents = int(rng.integers(1, 4)) if len(found.data) > 8 else 1
    return write(items, primary)
