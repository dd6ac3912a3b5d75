"""Checks `clipway export --vocabulary-from` against the libraries that a source and the written folder are for.

For each kind of tokenizer a small model is made by its own library (open_clip or transformers) with random weights, and its
vocabulary is trimmed. For every text of the choice, the folder's library must then give the same tokens, compared by their
spelling, and the features of the whole model bit for bit. Texts that no choice saw are encoded too: none may be lost.

    python scripts/check_vocabulary.py --clipway target/debug/clipway --tokenizers DIR --sizes MANIFESTS

`DIR` has folders of tokenizers: `bert-uncased`, `gemma-like`, `t5-like` and `xlmr-like`. Byte pairs as GPT-2's and a
SentencePiece model as SigLIP's are trained here on the documentation of this repository.

`MANIFESTS` has the names and shapes of registered models: five of full width are exported with zeros for weights and made-up
tokens, of which 32,000 are kept, to see their sizes.
"""

import argparse
import gzip
import json
import pathlib
import re
import shutil
import subprocess
import tempfile

import numpy as np
import torch

from small_models import open_clip_folder, randomized, rows_of, text_model, working_in

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEMO = ROOT / "examples" / "emoji-clip"

TEXTS = [
    "a photo of a cat",
    "a drawing of two dogs & a bird, 3.5 times!",
    "the quick brown fox jumps over the lazy dog",
    "un château sur la colline",
    "Eine Straße im Schnee — bei Nacht",
    "山の上の城",
    "it's a t-shirt, size XL",
    "snake_case and CamelCase",
    "naïve cafe\u0301 🐈",
    "an engineer's notebook with unbelievably long words: internationalization, counterintuitiveness",
]
OTHERS = ["zebra crossings", "ÉCOLE ΟΔΥΣΣΕΥΣ 😀", "kilowatt-hours of straightforwardness", "日本の猫 مرحبا"]



def spelled(tokenizer, ids) -> list[str]:
    """The tokens of a row without padding."""
    pad = tokenizer.pad_token_id
    tokens = tokenizer.convert_ids_to_tokens([int(id) for id in ids])
    ids = [int(id) for id in ids]
    while len(ids) > 1 and ids[-1] == pad and ids[-2] == pad:
        ids.pop()
    return tokens[: len(ids)]


def of_open_clip(folder: pathlib.Path, texts: list[str]):
    """Tokens and features by open_clip, with the folder as working folder."""
    import open_clip

    with working_in(folder):
        model = open_clip.create_model("local-dir:.").eval()
        tokenizer = open_clip.get_tokenizer("local-dir:.")
    ids = tokenizer(texts)
    with torch.no_grad():
        # One by one, so that sums have one order whatever the batch.
        features = torch.cat([model.encode_text(row[None]) for row in ids])
    if hasattr(tokenizer, "tokenizer"):
        return [spelled(tokenizer.tokenizer, row) for row in ids], features
    names = {id: name for name, id in tokenizer.encoder.items()}
    special = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    rows = [[special.get(names[int(id)], names[int(id)]) for id in row[: row.argmax() + 1]] for row in ids]
    return rows, features


def of_transformers(folder: pathlib.Path, texts: list[str]):
    """The same by transformers, of a folder of a whole model."""
    import transformers

    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    length = model.config.text_config.max_position_embeddings
    rows = tokenizer(texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt").input_ids
    with torch.no_grad():
        made = [model.get_text_features(input_ids=row[None]) for row in rows]
    features = torch.cat([one if isinstance(one, torch.Tensor) else one.pooler_output for one in made])
    return [spelled(tokenizer, row) for row in rows], features


def byte_pairs(place: pathlib.Path) -> pathlib.Path:
    """Byte pairs as RoBERTa's, trained on the documentation."""
    import tokenizers
    import transformers

    own = tokenizers.ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    own.train([str(path) for path in sorted(ROOT.glob("**/*.md"))], vocab_size=4000, special_tokens=special)
    own.save_model(str(place))
    vocab, merges = place / "vocab.json", place / "merges.txt"
    tokenizer = transformers.RobertaTokenizer(vocab=json.loads(vocab.read_text()), merges=[tuple(line.split(" ")) for line in merges.read_text().splitlines()[1:]])
    tokenizer.save_pretrained(place)
    return place


def sentence_pieces(place: pathlib.Path) -> pathlib.Path:
    """A SentencePiece model as SigLIP's, trained on the documentation."""
    import sentencepiece

    texts = "\n".join(path.read_text().lower() for path in sorted(ROOT.glob("**/*.md")))
    (place / "texts").write_text(texts)
    sentencepiece.SentencePieceTrainer.train(
        input=str(place / "texts"), model_prefix=str(place / "spiece"), vocab_size=2000, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        character_coverage=0.9995, normalization_rule_name="nmt_nfkc_cf", minloglevel=2,
    )
    (place / "texts").unlink()
    (place / "spiece.vocab").unlink()
    config = {"tokenizer_class": "SiglipTokenizer", "model_max_length": 16, "pad_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>", "do_lower_case": True}
    (place / "tokenizer_config.json").write_text(json.dumps(config))
    return place


def siglip_of_transformers(place: pathlib.Path, tokenizer: pathlib.Path) -> None:
    import sentencepiece
    import transformers

    rows = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer / "spiece.model")).vocab_size()
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = {**sizes, "vocab_size": rows, "max_position_embeddings": 16, "bos_token_id": None, "eos_token_id": 1, "pad_token_id": 1}
    config = transformers.SiglipConfig(text_config=text, vision_config={**sizes, "image_size": 32, "patch_size": 16})
    randomized(transformers.SiglipModel(config)).save_pretrained(place)
    for path in tokenizer.iterdir():
        shutil.copy(path, place / path.name)
    processor = {"image_processor_type": "SiglipImageProcessor", "size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
                 "do_resize": True, "do_normalize": True, "do_rescale": True, "rescale_factor": 1 / 255, "resample": 3}
    (place / "preprocessor_config.json").write_text(json.dumps(processor))


def run(clipway: str, *arguments, **options) -> subprocess.CompletedProcess:
    return subprocess.run([clipway, *map(str, arguments)], capture_output=True, text=True, **options)


def letters(tokens: list[str]) -> str:
    """What tokens spell, without special ones and the marks of words' parts."""
    special = re.compile(r"<(?!0x)[^>]+>|\[[A-Z]+\]")
    plain = (token.removeprefix("##").removesuffix("</w>") for token in tokens if not special.fullmatch(token))
    return "".join(plain).removesuffix("▁")


def check(name, clipway, source, target, library, folder) -> None:
    """Trims a source, and compares it with itself."""
    texts = TEXTS
    chosen = folder / "texts.txt"
    chosen.write_text("\n".join(texts) + "\n")
    out = folder / f"{source.name}-{target}"
    done = run(clipway, "export", source, "--to", target, "--vocabulary-from", chosen, "--out", out, "--json")
    assert done.returncode == 0, (name, done.stderr)
    report = json.loads(done.stdout)
    assert report["verification"]["passed"], report["verification"]
    stages = {stage["name"]: stage for stage in report["verification"]["stages"]}
    assert stages["text features"]["worst"] == 0.0, stages["text features"]
    vocabulary = report["contract"]["text"]["vocabulary"]["value"]
    before, features_before = library(source, texts)
    after, features_after = library(out, texts)
    assert before == after, next((one, two) for one, two in zip(before, after) if one != two)
    worst = (features_before - features_after).abs().max().item()
    assert worst == 0.0, (name, worst)
    # Whatever no choice saw is written with other tokens, and spelled the same.
    others_before, others_after = library(source, OTHERS)[0], library(out, OTHERS)[0]
    told = sum(one != two for one, two in zip(others_before, others_after))
    # More tokens may be more than the context holds, so the rest of a text may be cut off.
    lost = sum(not letters(one).startswith(letters(two)) for one, two in zip(others_before, others_after))
    again = run(clipway, "verify", out, "--against", source, "--texts", chosen, "--json")
    assert again.returncode == 0, (name, again.stdout, again.stderr)
    print(
        f"| {name} | {target} | {vocabulary['of']} | {vocabulary['kept']} | {len(texts)} | equal | {worst} "
        f"| {told} of {len(OTHERS)}, {lost} with lost characters |"
    )


def equality(clipway: str, tokenizers: pathlib.Path) -> None:
    print("| source | target | rows | kept | texts | tokens | largest difference of features | other texts written otherwise |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        pairs, pieces = folder / "pairs", folder / "pieces"
        pairs.mkdir()
        pieces.mkdir()
        byte_pairs(pairs)
        sentence_pieces(pieces)
        own = {"context_length": 24, "width": 64, "heads": 4, "layers": 2}
        named = {**own, "hf_tokenizer_name": "small"}
        siglip = {"no_causal_mask": True, "pool_type": "last", "proj_bias": True, "tokenizer_kwargs": {"clean": "canonicalize"}}
        tower = {"hf_model_name": "small", "hf_tokenizer_name": "small", "hf_pooler_type": "mean_pooler", "context_length": 24}
        roberta = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1}
        mt5 = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4, "feed_forward_proj": "gated-gelu"}

        def plain(text, tokenizer=None, **more):
            rows = {"vocab_size": rows_of(tokenizer)} if tokenizer else {}
            return lambda place: open_clip_folder(place, {**text, **rows}, tokenizer, **more)

        def of_tower(kind, tokenizer, **more):
            return lambda place: open_clip_folder(place, tower, tokenizer, text_model(kind, rows_of(tokenizer), **more))

        at_end = {**own, "pool_type": "eos", "eos_id": 49407}
        scored = {"custom_text": True, "init_logit_bias": -10}
        cases = [
            ("CLIP's byte pairs", plain(own)),
            ("CLIP's byte pairs, end token by its id", plain(at_end, custom_text=True)),
            ("byte pairs with byte fallback, as SigLIP 2", plain({**named, **siglip}, tokenizers / "gemma-like", **scored)),
            ("unigram, as SigLIP", plain({**named, **siglip}, tokenizers / "t5-like", **scored)),
            ("unigram with an XLM-R", of_tower("xlm-roberta", tokenizers / "xlmr-like", **roberta)),
            ("WordPiece with a BERT", of_tower("bert", tokenizers / "bert-uncased")),
            ("unigram with an mT5", of_tower("mt5", tokenizers / "t5-like", **mt5)),
            ("byte pairs with a RoBERTa", of_tower("roberta", pairs, **roberta)),
        ]
        for number, (name, make) in enumerate(cases):
            source = folder / f"source{number}"
            make(source)
            check(name, clipway, source, "open_clip", of_open_clip, folder)
        source = folder / "siglip"
        siglip_of_transformers(source, pieces)
        check("SentencePiece of a SigLIP of transformers", clipway, source, "transformers", of_transformers, folder)


# The models of full width, each with the tokenizer that is made up for it.
SIZES = ["ViT-B-16-SigLIP2", "ViT-L-16-SigLIP2-256", "ViT-B-16-SigLIP-i18n-256", "xlm-roberta-base-ViT-B-32", "nllb-clip-base-siglip"]
KEPT = 32_000


def made_up(place: pathlib.Path, rows: int) -> list[str]:
    """A unigram tokenizer of as many pieces as rows, and texts that use `KEPT` of them."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    letters = [chr(code) for code in range(97, 123)]
    # Words of six letters by their number: no piece is part of another.
    word = lambda number: "".join(letters[number // 26**place % 26] for place in range(6))
    words = ["▁" + word(number * 1117) for number in range(rows - len(special) - len(letters) - 1)]
    pieces = [[piece, 0.0] for piece in special] + [[letter, -20.0] for letter in ["▁", *letters]] + [[one, -5.0] for one in words]
    template = lambda id: [{"Sequence": {"id": id, "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}]
    document = {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "decoder": None,
        "added_tokens": [{"id": id, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True} for id, token in enumerate(special)],
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "post_processor": {"type": "TemplateProcessing", "single": template("A"), "pair": template("A") + template("B"), "special_tokens": {"</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}}},
        "model": {"type": "Unigram", "unk_id": 3, "vocab": pieces, "byte_fallback": False},
    }
    (place / "tokenizer.json").write_text(json.dumps(document))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "padding_side": "right", "truncation_side": "right"}
    (place / "tokenizer_config.json").write_text(json.dumps(config))
    used = words[: KEPT - len(special) - len(letters) - 1]
    return [" ".join(one.removeprefix("▁") for one in used[start : start + 20]) for start in range(0, len(used), 20)]


def zeros(manifest: pathlib.Path, place: pathlib.Path) -> int:
    """A safetensors file of zeros, as sparse as the disk allows; returns the rows of the token embedding."""
    with gzip.open(manifest) as file:
        tensors = json.load(file)
    tensors = tensors.get("state_dict", tensors.get("tensors"))
    sizes = {"float32": ("F32", 4), "int64": ("I64", 8)}
    header, end = {}, 0
    for key, dtype, shape in tensors:
        dtype, size = sizes[dtype.removeprefix("torch.")]
        length = size * int(np.prod(shape))
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + length]}
        end += length
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(place, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return max(shape[0] for key, _, shape in tensors if len(shape) == 2)


def sizes(clipway: str, manifests: pathlib.Path) -> None:
    print("| model | rows | kept | before | after | saved |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            source = folder / "zeros.safetensors"
            rows = zeros(manifests / f"{name}.json.gz", source)
            texts = folder / "texts.txt"
            texts.write_text("\n".join(made_up(folder, rows)) + "\n")
            options = ["--model", name, "--vocabulary-from", texts, "--out", folder / "out", "--no-verify", "--json"]
            done = run(clipway, "export", source, *options)
            assert done.returncode == 0, done.stderr
            report = json.loads(done.stdout)
            vocabulary = report["contract"]["text"]["vocabulary"]["value"]
            before = source.stat().st_size
            after = (folder / "out" / "open_clip_model.safetensors").stat().st_size
            share = 100 * (before - after) / before
            print(f"| {name} | {vocabulary['of']} | {vocabulary['kept']} | {before / 1e6:.0f} MB | {after / 1e6:.0f} MB | {share:.0f} % |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clipway", required=True)
    parser.add_argument("--tokenizers", type=pathlib.Path)
    parser.add_argument("--sizes", type=pathlib.Path, metavar="MANIFESTS")
    arguments = parser.parse_args()
    clipway = str(pathlib.Path(arguments.clipway).resolve())
    if arguments.tokenizers:
        equality(clipway, arguments.tokenizers.resolve())
    if arguments.sizes:
        sizes(clipway, arguments.sizes.resolve())


if __name__ == "__main__":
    main()
