#!/usr/bin/env python3
"""Writes the data tables of clipway's text cleaning and CLIP tokenizer.

    python scripts/generate_text_tables.py

Needs an environment with open_clip 3.3.0 (which brings ftfy 6.3.1 and regex) on Python 3.11: the tables record what
those versions do, code point by code point, so that a port follows their Unicode version (14.0 for case, spaces and
normalization; that of `regex` for letters and numbers), whichever the Rust standard library has. The output is
deterministic.
"""

import codecs
import gzip
import html
import html.entities
import os
import re
import struct
import sys
import unicodedata

import ftfy.bad_codecs  # noqa: F401  (registers the sloppy codecs)
import ftfy.badness
import ftfy.chardata
import open_clip.tokenizer
import regex

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "crates", "clipway-run")
TABLES = os.path.join(ROOT, "src", "text", "tables")
ALL = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def literal(text):
    """Returns a Rust string literal in ASCII."""
    out = []
    for c in text:
        if c in '"\\':
            out.append("\\" + c)
        elif " " <= c <= "~":
            out.append(c)
        else:
            out.append("\\u{%x}" % ord(c))
    return '"' + "".join(out) + '"'


def ranges(predicate):
    """Returns the code points for which `predicate` holds, as inclusive ranges."""
    found, start, previous = [], None, None
    for c in ALL:
        if not predicate(c):
            continue
        if previous is not None and ord(c) == previous + 1:
            previous += 1
            continue
        if start is not None:
            found.append((start, previous))
        start = previous = ord(c)
    if start is not None:
        found.append((start, previous))
    return found


def wrap(items):
    """Returns items separated by commas, in lines of at most 108 columns."""
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > 108:
            lines.append(line)
            line = "   "
        line += " " + item + ","
    lines.append(line)
    return "\n".join(lines)


def write(name, about, tables):
    """Writes one Rust file of `static` tables: (name, doc, element type, items)."""
    parts = [f"//! {about}\n//!\n//! Written by `scripts/generate_text_tables.py`; do not edit."]
    for table, doc, kind, items in tables:
        parts.append(f"/// {doc}\npub static {table}: [{kind}; {len(items)}] = [\n{wrap(items)}\n];")
    with open(os.path.join(TABLES, name), "w", encoding="utf-8") as f:
        f.write("\n\n".join(parts) + "\n")


def range_items(predicate):
    return ["(0x%x, 0x%x)" % r for r in ranges(predicate)]


def classes():
    ignore = regex.IGNORECASE
    letter = regex.compile(r"[\p{L}]", ignore)
    number = regex.compile(r"\p{N}", ignore)
    neither = regex.compile(r"[^\s\p{L}\p{N}]", ignore)
    space = regex.compile(r"\s", ignore)
    word = re.compile(r"\w")
    digit = re.compile(r"\d")
    odd = [c for c in ALL if not (letter.match(c) or number.match(c) or neither.match(c) or space.match(c))]
    assert odd == ["\u0345"], odd
    write(
        "classes.rs",
        "Classes of characters, as inclusive ranges of code points.",
        [
            ("LETTERS", "What `\\p{L}` matches in Python's `regex`.", "(u32, u32)", range_items(letter.match)),
            ("NUMBERS", "What `\\p{N}` matches in Python's `regex`.", "(u32, u32)", range_items(number.match)),
            ("SPACES", "Where Python's `str.split` splits.", "(u32, u32)", range_items(str.isspace)),
            ("WORD", "What `\\w` matches in Python's `re`.", "(u32, u32)", range_items(word.match)),
            ("DIGITS", "What `\\d` matches in Python's `re`.", "(u32, u32)", range_items(digit.match)),
        ],
    )


def case():
    lower = [(c, c.lower()) for c in ALL if c.lower() != c]
    longer = [c for c, small in lower if len(small) != 1]
    assert longer == ["\u0130"], longer
    # A final sigma reveals which characters have case, and which are skipped.
    cased = lambda c: (c + "\u03a3").lower().endswith("\u03c2")
    write(
        "case.rs",
        "Lower case as Python's `str.lower` gives it.",
        [
            (
                "LOWER",
                "Characters whose lower case is another single character, sorted; U+0130 is not among them.",
                "(u32, u32)",
                ["(0x%x, 0x%x)" % (ord(c), ord(small)) for c, small in lower if len(small) == 1],
            ),
            ("CASED", "Cased characters that case does not ignore.", "(u32, u32)", range_items(cased)),
            (
                "CASE_IGNORABLE",
                "Characters that the rule for a final sigma looks through.",
                "(u32, u32)",
                range_items(only_ignorable),
            ),
        ],
    )


def only_ignorable(c):
    """Returns whether a final sigma looks past `c`, so that a cased letter beyond it decides."""
    with_letter = ("A" + c + "\u03a3").lower()[-1] == "\u03c2"
    without_letter = ("." + c + "\u03a3").lower()[-1] == "\u03c2"
    return with_letter and not without_letter


def normalization():
    nfd = lambda c: unicodedata.normalize("NFD", c)
    hangul = lambda c: 0xAC00 <= ord(c) <= 0xD7A3
    decomposed = [(c, nfd(c)) for c in ALL if nfd(c) != c and not hangul(c)]
    pairs, second = [], set()
    for c in ALL:
        parts = unicodedata.decomposition(c).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            a, b = (chr(int(p, 16)) for p in parts)
            if unicodedata.normalize("NFC", a + b) == c:
                pairs.append((ord(a), ord(b), ord(c)))
                second.add(b)
    pairs.sort()
    jamo = {chr(c) for c in range(0x1161, 0x1176)} | {chr(c) for c in range(0x11A8, 0x11C3)}
    classes = []
    for c in ALL:
        k = unicodedata.combining(c)
        if k and classes and classes[-1][1] == ord(c) - 1 and classes[-1][2] == k:
            classes[-1][1] = ord(c)
        elif k:
            classes.append([ord(c), ord(c), k])
    touched = lambda c: unicodedata.combining(c) or unicodedata.normalize("NFC", c) != c or c in second or c in jamo
    write(
        "normalization.rs",
        "Canonical decomposition and composition of Unicode %s." % unicodedata.unidata_version,
        [
            ("TOUCHED", "Characters that NFC may change or join with others.", "(u32, u32)", range_items(touched)),
            (
                "DECOMPOSED",
                "Full canonical decompositions, Hangul left out.",
                "(u32, &str)",
                ["(0x%x, %s)" % (ord(c), literal(d)) for c, d in decomposed],
            ),
            (
                "COMBINING",
                "Combining classes other than 0, as ranges.",
                "(u32, u32, u8)",
                ["(0x%x, 0x%x, %d)" % tuple(k) for k in classes],
            ),
            (
                "COMPOSED",
                "Primary composites: first, second, composed.",
                "(u32, u32, u32)",
                ["(0x%x, 0x%x, 0x%x)" % p for p in pairs],
            ),
        ],
    )


def entities():
    html5 = sorted(html.entities.html5.items())
    upper = {k: v for k, v in ftfy.chardata.HTML_ENTITIES.items() if k[1:] not in html.entities.html5}
    for k, v in html.entities.html5.items():
        assert not k.endswith(";") or ftfy.chardata.HTML_ENTITIES["&" + k] == v
    entry = lambda kv: "(%s, %s)" % (literal(kv[0]), literal(kv[1]))
    numeric = sorted(html._invalid_charrefs.items())
    nothing = sorted(html._invalid_codepoints)
    write(
        "entities.rs",
        "Named and numeric HTML character references.",
        [
            ("HTML5", "HTML5's names, some without their semicolon, sorted.", "(&str, &str)", [entry(e) for e in html5]),
            ("UPPERCASED", "Names in capitals that ftfy reads too, sorted.", "(&str, &str)", sorted(entry((k[1:], v)) for k, v in upper.items())),
            ("REPLACED", "Numbers that stand for another character.", "(u32, char)", ["(0x%x, '\\u{%x}')" % (n, ord(c)) for n, c in numeric]),
            ("REMOVED", "Numbers that stand for nothing.", "u32", ["0x%x" % n for n in nothing]),
        ],
    )


def substitutions():
    ligatures = sorted(ftfy.chardata.LIGATURES.items())
    widths = sorted(ftfy.chardata.WIDTH_MAP.items())
    entry = lambda kv: "(0x%x, %s)" % (kv[0], literal(kv[1]))
    write(
        "substitutions.rs",
        "Characters that ftfy replaces one by one (data of ftfy 6.3.1, Apache-2.0).",
        [
            ("LIGATURES", "Latin ligatures and digraphs.", "(u32, &str)", [entry(e) for e in ligatures]),
            ("WIDTHS", "Half-width and full-width forms.", "(u32, &str)", [entry(e) for e in widths]),
        ],
    )


def charmaps():
    tables = []
    for name in ftfy.chardata.CHARMAP_ENCODINGS:
        decoded = bytes(range(256)).decode(name)
        assert decoded[:0x1A] == bytes(range(0x1A)).decode("ascii")
        assert decoded[0x1B:0x80] == bytes(range(0x1B, 0x80)).decode("ascii")
        assert decoded[0x1A] == ("\ufffd" if name.startswith("sloppy") else "\x1a")
        high = decoded[0x80:]
        assert len(set(decoded)) == 256, name
        assert all(c.encode(name) == bytes([0x80 + i]) for i, c in enumerate(high))
        constant = name.replace("sloppy-", "").replace("-", "_").upper()
        doc = f"Characters of bytes 0x80 to 0xFF in {name}."
        tables.append((constant, doc, "u16", ["0x%x" % ord(c) for c in high]))
    for byte in range(0x80, 0x100):
        try:
            strict = bytes([byte]).decode("windows-1252")
        except UnicodeDecodeError:
            strict = None
        sloppy = bytes([byte]).decode("sloppy-windows-1252")
        assert strict == sloppy if strict else ord(sloppy) == byte
    write("charmaps.rs", "The single-byte encodings between which text gets mixed up.", tables)


def mojibake():
    order = [
        "common", "c1", "bad", "law", "currency", "start_punctuation", "end_punctuation", "numeric",
        "kaomoji", "upper_accented", "lower_accented", "upper_common", "lower_common", "box",
        "utf8_first_of_2", "utf8_first_of_3", "utf8_first_of_4", "utf8_continuation", "utf8_continuation_strict",
    ]
    sets = {**ftfy.badness.MOJIBAKE_CATEGORIES, **ftfy.chardata.UTF8_CLUES}
    assert sorted(sets) == sorted(order)
    matchers = [re.compile("[" + sets[name] + "]") for name in order]
    entries = []
    for c in ALL:
        mask = sum(1 << i for i, m in enumerate(matchers) if m.match(c))
        if mask:
            entries.append("(0x%x, 0x%x)" % (ord(c), mask))
    names = [(n.upper(), f"The bit of ftfy's set `{n}`.", i) for i, n in enumerate(order)]
    about = "Characters of mojibake and the sets they belong to (data of ftfy 6.3.1, Apache-2.0)."
    write("mojibake.rs", about, [("SETS", "Characters with the bits of their sets, sorted.", "(u32, u64)", entries)])
    with open(os.path.join(TABLES, "mojibake.rs"), "a", encoding="utf-8") as f:
        for name, doc, bit in names:
            f.write(f"\n/// {doc}\npub const {name}: u64 = 1 << {bit};\n")


def vocabulary():
    """Returns CLIP's merges as pairs of ids: the id of the n-th merge is 512 + n."""
    with gzip.open(open_clip.tokenizer.default_bpe()) as f:
        lines = f.read().decode("utf-8").split("\n")
    tokenizer = open_clip.tokenizer.SimpleTokenizer()
    ids = tokenizer.encoder
    merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
    assert len(merges) == 48894 and len(ids) == 512 + 48894 + 2
    out = bytearray()
    for rank, (left, right) in enumerate(merges):
        assert ids[left + right] == 512 + rank and ids[left] < 512 + rank and ids[right] < 512 + rank
        out += struct.pack("<HH", ids[left], ids[right])
    for token, index in ids.items():
        # Every word-final token is the result of merging its own characters, so whole words need no merging.
        if token.endswith("</w>"):
            assert tokenizer.bpe(token[:-4]) == token
    with open(os.path.join(ROOT, "data", "clip_merges.bin"), "wb") as f:
        f.write(out)


def main():
    assert sys.version_info[:2] == (3, 11), "the tables record Python 3.11"
    os.makedirs(TABLES, exist_ok=True)
    for step in (classes, case, normalization, entities, substitutions, charmaps, mojibake, vocabulary):
        step()


main()
