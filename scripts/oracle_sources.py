"""Sources of every supported layout, each with the files from which its own library computes text and image features.

Each function writes a source into a folder and returns a `Source`: what clipway reads, with which options, and how the
source's own library gets from strings and image files to features.
"""
import json
import random
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import open_clip
import sentencepiece
import tokenizers
import tokenizers.models
import torch
import transformers
from open_clip.convert import load_big_vision_weights
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import save_file

import layout_sources
from layout_oracle import taught
from layout_sources import CONTEXT, randomize

warnings.filterwarnings("ignore")

CLIP_ROWS = 49408


@dataclass
class Reading:
    """How a library gets from strings and image files to features."""

    texts: Callable
    """Returns the features of texts, `[texts, width]`."""
    pixels: Callable
    """Returns the pixels of an opened image, `[3, height, width]`."""
    encode: Callable
    """Returns the features of pixels, `[images, width]`."""

    def images(self, paths):
        """Returns the files that the library accepts, and their features."""
        taken, pixels = [], []
        for path in paths:
            try:
                with Image.open(path) as image:
                    pixels.append(self.pixels(image))
            except Exception as error:  # Pillow and the processors raise many types.
                print(f"  {path.name}: the library refuses it: {str(error)[:80]}")
                continue
            taken.append(path)
        return taken, in_passes(self.encode, pixels, 32, torch.stack)


@dataclass
class Source:
    """A source, and its own library's features for it."""

    path: Path
    """What clipway reads."""
    reading: Reading
    """Its own library."""
    judge: str
    """Which library that is, for people."""
    options: list = field(default_factory=list)
    """Options of clipway."""
    cleaned: bool = False
    """Whether open_clip reads an export's texts as the source's own library does."""
    targets: tuple = ("open_clip",)
    """Libraries that it is exported for."""
    refused: str = ""
    """The code with which clipway refuses it, if it does."""


def clip_words(folder):
    """Writes CLIP's vocabulary as `vocab.json` and `merges.txt`."""
    tokenizer = open_clip.SimpleTokenizer()
    folder.mkdir(parents=True, exist_ok=True)
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    words = {names.get(word, word): number for word, number in tokenizer.encoder.items()}
    (folder / "vocab.json").write_text(json.dumps(words, ensure_ascii=False), encoding="utf8")
    pairs = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.get)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in pairs)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf8")


def sentences(count=4000, seed=5):
    """Returns lines of made-up words, to train a SentencePiece model on."""
    draw = random.Random(seed)
    parts = ["ca", "do", "t", "g", "pho", "to", "of", "a", "is", "the", "re", "blu", "ß", "ée", "σί", "да", "漢", "字", "1", "22", "ver", "y"]
    words = ["".join(draw.choices(parts, k=draw.randint(1, 3))) for _ in range(600)]
    return [" ".join(draw.choices(words, k=draw.randint(3, 12))) for _ in range(count)]


def sentence_piece(path, size=500):
    """Writes a unigram SentencePiece model like SigLIP's: id 0 pads, 1 ends, 2 is unknown."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences()), model_prefix=str(path.with_suffix("")), vocab_size=size, model_type="unigram",
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, normalization_rule_name="nmt_nfkc", hard_vocab_limit=False, minloglevel=2)
    path.with_suffix(".vocab").unlink()


def unigram(folder):
    """Writes a unigram Hugging Face tokenizer like those of open_clip's SigLIP models."""
    model = tokenizers.Tokenizer(tokenizers.models.Unigram())
    model.normalizer = tokenizers.normalizers.NFKC()
    model.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    trainer = tokenizers.trainers.UnigramTrainer(vocab_size=400, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>")
    model.train_from_iterator(sentences(), trainer)
    model.post_processor = tokenizers.processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=model, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    made.save_pretrained(folder)


def features(found):
    return getattr(found, "pooler_output", found)


def in_passes(compute, items, size=256, batch=list):
    with torch.no_grad():
        return torch.cat([features(compute(batch(items[at:at + size]))) for at in range(0, len(items), size)])


def of_transformers(folder, **padding):
    """A folder of transformers, read by its own classes alone."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    # What `truncation=True` alone cuts to, where the model has that many positions.
    length = min(tokenizer.model_max_length, model.config.text_config.max_position_embeddings)

    def texts(items):
        ids = tokenizer(items, padding="max_length", max_length=length, truncation=True, return_tensors="pt", **padding)["input_ids"]
        return model.get_text_features(input_ids=ids)

    return Reading(
        lambda items: in_passes(texts, items),
        lambda image: processor(image, return_tensors="pt")["pixel_values"][0],
        lambda pixels: model.get_image_features(pixel_values=pixels))


def image_processor(folder, name, side, version):
    """Writes an image processor file like a version of transformers does, next to a stale one in version 5."""
    keys = {"do_resize": True, "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255, "do_convert_rgb": True,
            "image_processor_type": name, "resample": 3}
    if name.startswith("CLIP"):
        keys |= {"size": {"shortest_edge": side}, "do_center_crop": True, "crop_size": {"height": side, "width": side},
                 "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
    else:
        keys |= {"size": {"height": side, "width": side}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    if version == "v4":
        (folder / "preprocessor_config.json").write_text(json.dumps(keys))
        return
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": keys, "processor_class": name[:4]}))
    (folder / "preprocessor_config.json").write_text(json.dumps({**keys, "image_mean": [0.1, 0.2, 0.3]}))


def transformers_clip(folder, shape):
    """CLIPModel. `v5`: as transformers 5 saves it. `v4`: with vocabulary and merges, as transformers 4 also saves."""
    end = 2 if shape == "legacy" else 49407
    layout_sources.clip(folder, 11, "quick_gelu", 64, 2, 48, 4, 48, 12, end, vocabulary=CLIP_ROWS, begin=49406)
    clip_words(folder)
    if shape != "v4":
        transformers.CLIPTokenizerFast.from_pretrained(folder, model_max_length=CONTEXT).save_pretrained(folder)
        (folder / "vocab.json").unlink()
        (folder / "merges.txt").unlink()
    else:
        config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": CONTEXT, "pad_token": "<|endoftext|>"}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    image_processor(folder, "CLIPImageProcessor", 48, shape)
    return Source(folder, of_transformers(folder), "transformers", targets=("open_clip", "transformers"))


def transformers_siglip(folder):
    """SiglipModel with SigLIP's own tokenizer, a SentencePiece model."""
    layout_sources.siglip(folder, 12, "gelu", 48, 4, 48, 12)
    sentence_piece(folder / "spiece.model", 480)
    transformers.SiglipTokenizer(str(folder / "spiece.model"), model_max_length=CONTEXT).save_pretrained(folder)
    image_processor(folder, "SiglipImageProcessor", 48, "v4")
    return Source(folder, of_transformers(folder), "transformers", targets=("open_clip", "transformers"))


def transformers_siglip2(folder, shape):
    """SigLIP 2 at a fixed resolution: its tokenizer class of transformers 5, or Gemma's, as in transformers 4 folders."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,:!?'-0123456789’é"
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *letters]
    pairs = [("▁", "a"), ("c", "a"), ("ca", "t"), ("o", "f"), ("t", "h"), ("th", "e"), ("▁", "the")]
    words += ["".join(pair) for pair in pairs]
    cls = transformers.Siglip2Tokenizer if shape == "v5" else transformers.GemmaTokenizer
    tokenizer = cls(vocab={word: number for number, word in enumerate(words)}, merges=pairs)
    tokenizer.model_max_length = CONTEXT
    if shape != "v5":
        tokenizer.add_eos_token = True
    layout_sources.siglip(folder, 13, "gelu_pytorch_tanh", 48, 4, 48, 12)
    tokenizer.save_pretrained(folder)
    image_processor(folder, "SiglipImageProcessor", 48, shape)
    return Source(folder, of_transformers(folder, padding_side="right"), "transformers", targets=("open_clip", "transformers"))


def of_open_clip_model(model, tokenizer, preprocess):
    """An open_clip model, with its tokenizer and evaluation transform."""
    return Reading(lambda items: in_passes(lambda some: model.encode_text(tokenizer(some)), items), preprocess, model.encode_image)


TINY = {"embed_dim": 24, "quick_gelu": False,
        "vision_cfg": {"image_size": 48, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32},
        "text_cfg": {"context_length": CONTEXT, "vocab_size": CLIP_ROWS, "width": 48, "heads": 4, "layers": 2}}


def of_open_clip(folder, tokenizer):
    """open_clip's folder: with CLIP's tokenizer, one of its cleanings, or a Hugging Face tokenizer and `canonicalize`."""
    config = json.loads(json.dumps(TINY))
    folder.mkdir(parents=True, exist_ok=True)
    if tokenizer == "huggingface":
        unigram(folder)
        config["text_cfg"].update(hf_tokenizer_name="some/tokenizer", tokenizer_kwargs={"clean": "canonicalize"}, pool_type="last",
                                  vocab_size=layout_sources.VOCABULARY, no_causal_mask=True)
    elif tokenizer != "lower":
        config["text_cfg"]["tokenizer_kwargs"] = {"clean": tokenizer}
    model = randomize(open_clip.CLIP(**config), 14)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    targets = ("open_clip", "transformers") if tokenizer != "huggingface" else ("open_clip",)
    return Source(folder, open_clip_reading(folder), "open_clip", cleaned=True, targets=targets)


def open_clip_reading(folder):
    """Reads a folder with open_clip itself."""
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}", precision="fp32")
    return of_open_clip_model(model.eval(), open_clip.get_tokenizer(f"local-dir:{folder}"), preprocess)


def openai(path):
    """OpenAI's state dict, read by open_clip's own loader of such files; OpenAI's package cannot be installed."""
    layout_sources.openai(path, 15, 2, 64, 64, False, vocabulary=CLIP_ROWS)
    model = open_clip.load_openai_model(str(path), precision="fp32", device="cpu").eval()
    preprocess = open_clip.image_transform(64, is_train=False)
    reading = of_open_clip_model(model, open_clip.SimpleTokenizer(context_length=CONTEXT), preprocess)
    # Not for transformers: verifying that export reads the source by the folder's config and finds no tokenizer.
    return Source(path, reading, "open_clip's loader of OpenAI's files", cleaned=True)


SIGLIP = {
    "embed_dim": 64, "init_logit_bias": -10,
    "vision_cfg": {"image_size": 48, "timm_model_name": "vit_base_patch16_siglip_224", "timm_pool": "map", "timm_proj": "none",
                   "timm_model_kwargs": {"embed_dim": 64, "depth": 2, "num_heads": 4, "mlp_ratio": 2, "patch_size": 12, "img_size": 48}},
    "text_cfg": {"context_length": CONTEXT, "vocab_size": layout_sources.VOCABULARY, "width": 64, "heads": 4, "layers": 2,
                 "mlp_ratio": 3, "no_causal_mask": True, "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6},
                 "act_kwargs": {"approximate": "tanh"}}}


def big_vision(path, stacked):
    """big_vision's arrays, read by open_clip's own loader, with a tokenizer in a separate folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    layout_sources.big_vision(path, 16, 4, stacked)
    words = path.parent / "words"
    unigram(words)
    with taught():
        model = open_clip.CustomTextCLIP(**json.loads(json.dumps(SIGLIP)))
    load_big_vision_weights(model, str(path))
    preprocess = image_transform_v2(PreprocessCfg(size=48, mean=(0.5,) * 3, std=(0.5,) * 3, resize_mode="squash"), is_train=False)
    tokenizer = open_clip.tokenizer.HFTokenizer(str(words), context_length=CONTEXT, clean="canonicalize")
    reading = of_open_clip_model(model.eval(), tokenizer, preprocess)
    return Source(path, reading, "open_clip's loader of big_vision's files", ["--tokenizer", words], cleaned=True)


def apple(path):
    """Apple's MobileCLIP, read by open_clip's own loader of Apple's files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    layout_sources.apple_fastvit(path, 17, "MobileCLIP-S1")
    model, _, preprocess = open_clip.create_model_and_transforms(
        "MobileCLIP-S1", pretrained=str(path), precision="fp32", image_mean=(0.0,) * 3, image_std=(1.0,) * 3, image_interpolation="bilinear",
        weights_only=False)
    reading = of_open_clip_model(model.eval(), open_clip.get_tokenizer("MobileCLIP-S1"), preprocess)
    return Source(path, reading, "open_clip's loader of Apple's files", cleaned=True)


def without_tokenizer(source, *names):
    """A source whose tokenizer is nowhere, or is not given: no built-in one is known to fit it."""
    for name in names:
        (source.path / name).unlink()
    source.options, source.refused = [], "missing-tokenizer"
    return source


SOURCES = {
    "transformers CLIP, v5": lambda place: transformers_clip(place / "clip5", "v5"),
    "transformers CLIP, v4": lambda place: transformers_clip(place / "clip4", "v4"),
    "transformers CLIP, end token 2": lambda place: transformers_clip(place / "legacy", "legacy"),
    "transformers SigLIP": lambda place: transformers_siglip(place / "siglip"),
    "transformers SigLIP, no tokenizer": lambda place: without_tokenizer(
        transformers_siglip(place / "siglip"), "spiece.model", "tokenizer_config.json"),
    "transformers SigLIP 2, v5": lambda place: transformers_siglip2(place / "siglip2-5", "v5"),
    "transformers SigLIP 2, v4": lambda place: transformers_siglip2(place / "siglip2-4", "v4"),
    "open_clip": lambda place: of_open_clip(place / "open_clip", "lower"),
    "open_clip, canonicalize": lambda place: of_open_clip(place / "canonicalize", "canonicalize"),
    "open_clip, Hugging Face tokenizer": lambda place: of_open_clip(place / "huggingface", "huggingface"),
    "OpenAI": lambda place: openai(place / "openai.bin"),
    "big_vision": lambda place: big_vision(place / "big_vision" / "a.npz", False),
    "big_vision, stacked": lambda place: big_vision(place / "stacked" / "a.npz", True),
    "big_vision, no tokenizer": lambda place: without_tokenizer(big_vision(place / "big_vision" / "a.npz", False)),
    "Apple": lambda place: apple(place / "apple" / "mobileclip_s1.pt"),
}
