#!/usr/bin/env python3
"""Draws texts and writes open_clip's tokens for them, as a folder of token goldens.

    python scripts/compare_tokens.py OUTPUT [--texts 20000] [--seed 1] [--tokenizers DIR]
    cargo xtask goldens tokens OUTPUT

Needs an environment with open_clip 3.3.0. With `--tokenizers`, a folder with a subfolder per Hugging Face tokenizer,
cases for those are written too. Tokenizers with a source language are made here. The texts depend only on the seed.
"""

import argparse
import html.entities
import json
import os
import random
import shutil
import unicodedata

import open_clip
import tokenizers
import transformers
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

WORDS = {
    "en": "a photo of the cat dog don't it's they'll we've rock'n'roll street red house OPENAI 2024 3.14 O'Neil's",
    "de": "Straße Größe Übung schöne Mädchen grüner Apfel Fußball weiß Äpfel",
    "fr": "déjà vu l’été à la plage garçon œuvre naïve Noël cœur où être français",
    "es": "niño mañana corazón ¿qué? ¡hola! año pingüino fotografía",
    "pt": "coração às àquele não ações avô lingüiça",
    "pl": "żółć gęślą jaźń zażółć łódź Śląsk",
    "cs": "příliš žluťoučký kůň úpěl ďábelské ódy",
    "tr": "İstanbul ışık ŞĞÜ çocuk öğrenci IĞDIR ırmak",
    "ru": "Привет мир фотография кошки Ёлка СОБАКА съезд",
    "uk": "їжак ґанок єдність Україна",
    "el": "ΟΔΥΣΣΕΥΣ φωτογραφία γάτας ΣΟΦΟΣ Άνθρωπος ΐ ΰ",
    "ar": "صورة قطة مرحبا بالعالم كِتَاب ١٢٣",
    "he": "תמונה של חתול שָׁלוֹם",
    "hi": "हिन्दी पाठ बिल्ली की तस्वीर क़ख़",
    "bn": "বিড়ালের ছবি বাংলা",
    "ta": "பூனை புகைப்படம்",
    "th": "รูปภาพของแมว ภาษาไทย น้ำ",
    "ko": "고양이 사진 한국어 각 값 ㄱㅏ",
    "ja": "猫の写真 ネコ ﾈｺﾉｼｬｼﾝ がぎぐ ガギグ カ゛",
    "zh": "一张猫的照片 繁體中文 狗",
    "vi": "ảnh con mèo tiếng Việt đẹp ước",
    "lv": "kaķis šķūnis ģimene ņirgāšanās",
    "am": "የድመት ፎቶ",
    "ka": "კატის ფოტო ᲙᲐᲢᲐ",
    "hy": "կատվի լուսանկար ԵՒ և",
    "chr": "ᏣᎳᎩ ꮳꮃꭹ",
}
EMOJI = "😀 🐱 👨‍👩‍👧‍👦 🏳️‍🌈 ❤️ 🇫🇷 👍🏽 ☕️ ✔ ⌚ 🏴󠁧󠁢󠁷󠁬󠁳󠁿 1️⃣ ㊗️ ™️ ©".split()
LABELS = [
    "flag: St. Kitts & Nevis", "twelve o’clock", "Japanese “acceptable” button", "keycap: *",
    "woman: blond hair", "visage souriant aux yeux rieurs", "Katze mit Freudentränen",
    "лицо со слезами радости", "笑い泣き", "微笑的脸", "gato con lágrimas de alegría", "ευτυχισμένο πρόσωπο",
    "حيوان القط", "웃는 얼굴", "kedi yüzü", "kočka s úsměvem",
]
ENCODINGS = [
    "latin-1", "windows-1252", "sloppy-windows-1252", "sloppy-windows-1251", "sloppy-windows-1250",
    "sloppy-windows-1253", "sloppy-windows-1254", "sloppy-windows-1257", "iso-8859-2", "macroman", "cp437",
]
SPECIAL = [
    "<start_of_text>", "<end_of_text>", "<START_OF_TEXT>", "<|endoftext|>", "<ſtart_of_text>", "'S",
    "'ſ", "'LL", "'rE", "\x1b[31m", "\x1b[0;1H", "\x1b[٣m", "\r\n", "\r", "\n", "\x85", "\u2028", "\x0b",
    "\x0c", "\x1c", "\x1f", "\x7f", "\ufeff", "\ufffc", "\u200b", "\u200d", "\u00ad", "\u0345", "\u3000",
    "\u2003", "ŉ", "ﬁ", "ﬅ", "Ĳ", "Ǆ", "ǰ", "K", "Å", "\ufffd", "_", "__", "--", "...", "!!!", "&", "&&",
    "<", "<b>", "\u0130", "ẞ", "Σ", "ς", "1st", "x²", "①", "Ⅷ", "½",
]


def words(r):
    language = r.choice(list(WORDS))
    chosen = r.choices(WORDS[language].split(), k=r.randint(1, 6))
    return " ".join(c if r.random() < 0.9 else r.choice([c.upper(), c.title(), c.swapcase()]) for c in chosen)


def any_character(r):
    while True:
        plane = r.choice([0, 0, 0, 0, 1, 1, 2, 3, 14, 15, 16])
        c = plane * 0x10000 + r.randrange(0x10000)
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def assigned_character(r):
    while True:
        c = any_character(r)
        if unicodedata.category(c) not in ("Cn", "Co"):
            return c


def random_unicode(r):
    draw = r.choice([any_character, assigned_character])
    return "".join(draw(r) if r.random() < 0.85 else " " for _ in range(r.randint(1, 24)))


def block(r):
    """Returns characters that are close together in Unicode."""
    start = ord(assigned_character(r)) & ~0x7F
    characters = [chr(start + r.randrange(128)) for _ in range(r.randint(2, 30))]
    return "".join(c if r.random() < 0.85 else " " for c in characters if not 0xD800 <= ord(c) < 0xE000)


def combining(r):
    """Returns marks in any order, composing letters and jamo."""
    others = (0x591, 0x5B0, 0x64B, 0x651, 0x3099, 0x1DC0, 0x20D0, 0x94D, 0x93C, 0x1161, 0x11A8)
    marks = [chr(c) for c in (*range(0x300, 0x370), *others)]
    bases = "aeiouAEIOUyYcCnNsSzZ가각ᄀᄂ한かはΑΩαωיאاव한" + "𑄱𑂙𝅗"
    return "".join(r.choice(bases) + "".join(r.choices(marks, k=r.randint(0, 3))) for _ in range(r.randint(1, 10)))


def entity(r):
    names = ENTITY_NAMES
    kind = r.random()
    if kind < 0.35:
        return "&" + r.choice(names)
    if kind < 0.5:
        return "&" + r.choice(names).rstrip(";")
    if kind < 0.6:
        return "&" + r.choice(names).upper()
    if kind < 0.7:
        return "&amp;" * r.randint(1, 3) + r.choice(["lt;", "amp;", "eacute;", "#39;", "quot", ""])
    if kind < 0.85:
        number = r.choice([r.randrange(256), r.randrange(0x3000), r.randrange(0x120000), 0xD83D, 0x26, 0x3B, 0x3C])
        form = r.choice(["&#%d;", "&#%d", "&#x%x;", "&#X%X;", "&#x%x", "&#0%d;"])
        return form % number
    return "&" + "".join(r.choices("abcdefgltampquosx#;&0123456789é ", k=r.randint(0, 12)))


def entities(r):
    parts = [entity(r) if r.random() < 0.6 else words(r) for _ in range(r.randint(1, 5))]
    text = r.choice(["", " "]).join(parts)
    return text if r.random() < 0.8 else text.replace(" ", "\n<p>", 1)


def decode_wrongly(r, text):
    encoding = r.choice(ENCODINGS)
    data = text.encode("utf-8")
    return data.decode(encoding, errors=r.choice(["ignore", "replace", "replace"]))


def cesu(text):
    """Returns UTF-8 with supplementary characters as surrogate pairs."""
    out = bytearray()
    for c in text:
        if ord(c) < 0x10000:
            out += c.encode()
            continue
        value = ord(c) - 0x10000
        for unit in (0xD800 + (value >> 10), 0xDC00 + (value & 0x3FF)):
            out += chr(unit).encode("utf-8", "surrogatepass")
    return bytes(out)


def mojibake(r):
    text = r.choice([words(r), words(r), r.choice(EMOJI) + words(r), r.choice(LABELS), assigned_character(r) * 2])
    kind = r.random()
    if kind < 0.1:
        return cesu(text).decode(r.choice(["latin-1", "sloppy-windows-1252"]))
    for _ in range(r.choice([1, 1, 1, 2, 2, 3])):
        text = decode_wrongly(r, text)
    if kind < 0.3:
        text = text.replace("\xa0", " ")
    elif kind < 0.4:
        text = "".join(r.choice(["\ufffd", "?", "\x1a"]) if c > "\x7f" and r.random() < 0.15 else c for c in text)
    if r.random() < 0.4:
        text = r.choice([words(r) + " " + text, text + " " + words(r), text + words(r)])
    return text[:200]


def mojibake_letters(r):
    """Returns any sequence of the characters that make up mojibake."""
    return "".join(r.choice(MOJIBAKE) if r.random() < 0.75 else r.choice("aZ e.,?! 1") for _ in range(r.randint(1, 14)))


def mixture(r):
    draws = [words, random_unicode, mojibake, entity, lambda r: r.choice(SPECIAL), lambda r: r.choice(EMOJI)]
    return r.choice(["", " ", "  "]).join(r.choice(draws)(r) for _ in range(r.randint(1, 6)))


def specials(r):
    return "".join(r.choice(SPECIAL) if r.random() < 0.6 else words(r) for _ in range(r.randint(1, 8)))


def ascii_noise(r):
    return "".join(chr(r.randrange(128)) for _ in range(r.randint(1, 40)))


def long_text(r):
    return " ".join(words(r) for _ in range(r.randint(10, 40)))


def label(r):
    return r.choice(["", "a photo of ", "emoji: "]) + r.choice(LABELS) + r.choice(["", " " + r.choice(EMOJI)])


def long_word(r):
    return "".join(r.choices(r.choice(["ab", "abcdefghijklmnopqrstuvwxyz", "é猫ñ", "!?-"]), k=r.randint(20, 200)))


ENTITY_NAMES = sorted(html.entities.html5)
HIGH_BYTES = {bytes([b]).decode(e) for e in ENCODINGS if e != "windows-1252" for b in range(0x80, 0x100)}
MOJIBAKE = sorted(HIGH_BYTES | {"\ufffd", "\x1a"})
DRAWS = [
    (words, 3), (random_unicode, 3), (block, 3), (combining, 2), (entities, 3), (mojibake, 4), (mojibake_letters, 4),
    (mixture, 3), (specials, 2), (ascii_noise, 1), (long_text, 1), (label, 1), (long_word, 0.5),
]


def draw(r):
    function = r.choices([d for d, _ in DRAWS], weights=[w for _, w in DRAWS])[0]
    return function(r)


# NLLB tokenizers: their own settings, and the ones given to open_clip.
LANGUAGES = [
    ("nllb", {}, {}),
    ("nllb_language", {}, {"language": "fra_Latn"}),
    ("nllb_configured", {"src_lang": "deu_Latn"}, {}),
    ("nllb_configured_language", {"src_lang": "deu_Latn"}, {"language": "fra_Latn"}),
    ("nllb_legacy", {"legacy_behaviour": True}, {}),
    ("nllb_legacy_language", {"legacy_behaviour": True, "src_lang": "deu_Latn"}, {"language": "fra_Latn"}),
]


def translator(r, texts, **settings):
    """Returns an NLLB-style tokenizer, with a vocabulary from some of the texts."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=2000, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False
    )
    tokenizer.train_from_iterator(r.sample(texts, min(len(texts), 500)), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    return transformers.NllbTokenizer(vocab=model["vocab"], merges=merges, **settings)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("output")
    parser.add_argument("--texts", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokenizers")
    arguments = parser.parse_args()
    r = random.Random(arguments.seed)
    texts = [draw(r) for _ in range(arguments.texts)]
    cases = {}
    for name, options in {
        "clip": {"context_length": 77},
        "clip_whitespace": {"context_length": 77, "clean": "whitespace"},
        "clip_canonicalize": {"context_length": 16, "clean": "canonicalize"},
    }.items():
        cases[name] = {"kind": "SimpleTokenizer", **options, "ids": SimpleTokenizer(**options)(texts).tolist()}
    os.makedirs(arguments.output, exist_ok=True)
    if arguments.tokenizers:
        copied = os.path.join(arguments.output, "tokenizers")
        shutil.copytree(arguments.tokenizers, copied, dirs_exist_ok=True)
        for name in sorted(os.listdir(copied)):
            options = {"context_length": 48, "clean": r.choice(["canonicalize", "whitespace", "lower"])}
            ids = HFTokenizer(os.path.join(copied, name), **options)(texts).tolist()
            cases[name] = {"kind": "HFTokenizer", "tokenizer": name, **options, "ids": ids}
    for name, settings, options in LANGUAGES:
        folder = os.path.join(arguments.output, "tokenizers", name)
        translator(r, texts, **settings).save_pretrained(folder)
        options = {"context_length": 48, **options}
        ids = HFTokenizer(folder, **options)(texts).tolist()
        cases[name] = {"kind": "HFTokenizer", "tokenizer": name, **options, "ids": ids}
    with open(os.path.join(arguments.output, "tokens.json"), "w") as f:
        json.dump({"open_clip": open_clip.__version__, "texts": texts, "cases": cases}, f, separators=(",", ":"))


main()
