"""Compares clipway with transformers on kinds of source beyond CLIPModel and SiglipModel: `check_coverage.py CLIPWAY [--only NAME]`.

Small models of each kind are made with weights by chance. Each is run by clipway as it is and as the folder that `clipway export`
makes of it, from strings and files of images, and compared with the features of its own library. The smallest cosine of each is
printed; all must be 0.99999 or more.
"""
import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy
import tokenizers
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file

LEAST = 0.99999

VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
TEXT = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 300}
CONTEXT = 16
TEXTS = ["a photo of a cat", "The red BIRD is blue.", "salt &amp; pepper", "the dog's ball, twice!", "a", "cat " * 40, "ﬁne  Ａｂｃ"]


def word_pieces(folder):
    """BERT's tokenizer over a small vocabulary."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters), "photo", "of", "cat", "the", ",", ".", "!"]
    words += [f"[unused{number}]" for number in range(TEXT["vocab_size"] - len(words))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    made = transformers.BertTokenizerFast(vocab_file=str(folder / "vocab.txt"), model_max_length=40)
    made.save_pretrained(folder)
    return made


def byte_pairs(folder, end):
    """A tokenizer of its own kind in `tokenizer.json`, whose end token has the id `end`, 2 or 3."""
    model = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    model.normalizer = tokenizers.normalizers.Sequence([tokenizers.normalizers.NFC(), tokenizers.normalizers.Lowercase()])
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=290, special_tokens=["<s>", "<pad>", *(["</s>", "<unk>"] if end == 2 else ["<unk>", "</s>"])])
    model.train_from_iterator(["a photo of the cat and a dog", "the red bird is blue"] * 5, trainer)
    model.add_tokens([f"zz{number}" for number in range(TEXT["vocab_size"] - model.get_vocab_size())])
    model.post_processor = tokenizers.processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", end)])
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=model, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
                                                unk_token="<unk>", model_max_length=CONTEXT)
    made.save_pretrained(folder)
    return made


def single(kind, config, tower, **more):
    def make(folder):
        model = getattr(transformers, kind)(getattr(transformers, config)(**(VISION if tower == "image" else text(3)), **more))
        tokenizer = byte_pairs(folder, 3) if tower == "text" else None
        return model, tokenizer, tower
    return make


def text(end):
    return dict(TEXT, max_position_embeddings=CONTEXT, bos_token_id=0, pad_token_id=1, eos_token_id=end)


def metaclip(folder):
    config = transformers.MetaClip2Config(vision_config=VISION, text_config=text(2), projection_dim=20)
    return transformers.MetaClip2Model(config), byte_pairs(folder, 2), "both"


def chinese(folder):
    config = transformers.ChineseCLIPConfig(vision_config=VISION, text_config=dict(TEXT, max_position_embeddings=40), projection_dim=20)
    return transformers.ChineseCLIPModel(config), word_pieces(folder), "both"


def dual(folder):
    config = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(
        transformers.CLIPVisionConfig(**VISION), transformers.BertConfig(**TEXT, max_position_embeddings=40), projection_dim=20)
    return transformers.VisionTextDualEncoderModel(config), word_pieces(folder), "both"


def naflex(folder):
    config = transformers.Siglip2Config(
        vision_config=dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, patch_size=8, num_patches=16),
        text_config=dict(TEXT, max_position_embeddings=CONTEXT, bos_token_id=0, pad_token_id=1, eos_token_id=2, projection_size=32))
    return transformers.Siglip2Model(config), byte_pairs(folder, 2), "both"


KINDS = {
    "CLIPVisionModel": single("CLIPVisionModel", "CLIPVisionConfig", "image"),
    "CLIPVisionModelWithProjection": single("CLIPVisionModelWithProjection", "CLIPVisionConfig", "image", projection_dim=20),
    "CLIPTextModel": single("CLIPTextModel", "CLIPTextConfig", "text"),
    "CLIPTextModelWithProjection": single("CLIPTextModelWithProjection", "CLIPTextConfig", "text", projection_dim=20),
    "SiglipVisionModel": single("SiglipVisionModel", "SiglipVisionConfig", "image"),
    "SiglipTextModel": single("SiglipTextModel", "SiglipTextConfig", "text", projection_size=32),
    "MetaClip2VisionModelWithProjection": single("MetaClip2VisionModelWithProjection", "MetaClip2VisionConfig", "image", projection_dim=20),
    "MetaClip2Model": metaclip,
    "ChineseCLIPModel": chinese,
    "VisionTextDualEncoderModel": dual,
    "Siglip2Model": naflex,
}


def images(place, square):
    paths = []
    for number, (width, height) in enumerate([(32, 32), (90, 57), (41, 120), (300, 200), (33, 31)]):
        height = width if square else height
        draw = numpy.random.default_rng(number)
        y, x = numpy.mgrid[0:height, 0:width]
        planes = numpy.stack([numpy.sin(x / (3 + number)) * 90 + 128, numpy.cos(y / 5) * 90 + 128, (x * y) % 255], -1)
        paths.append(place / f"{number}.png")
        Image.fromarray((planes + draw.normal(0, 12, planes.shape)).clip(0, 255).astype("uint8")).save(paths[-1])
    return paths


def vector(found):
    """The vector of each row, whatever class the library returns."""
    for name in ("image_embeds", "text_embeds", "pooler_output"):
        if getattr(found, name, None) is not None:
            return getattr(found, name)
    return found


def expected(model, tokenizer, tower, processor, paths):
    made = {}
    with torch.no_grad():
        if tower != "text":
            pixels = processor(images=[Image.open(path).convert("RGB") for path in paths], return_tensors="pt")
            made["image_features"] = vector(model.get_image_features(**pixels) if tower == "both" else model(**pixels))
        if tower != "image":
            siglip = "Siglip" in type(model).__name__
            options = {"padding": "max_length"} if siglip else {"padding": True}
            tokens = tokenizer(TEXTS, truncation=True, return_tensors="pt", **options)
            tokens = {"input_ids": tokens["input_ids"]} if siglip else {key: tokens[key] for key in ("input_ids", "attention_mask")}
            made["text_features"] = vector(model.get_text_features(**tokens) if tower == "both" else model(**tokens))
    return made


def check(clipway, name, make, place):
    torch.manual_seed(7)
    source, out = place / "source", place / "out"
    source.mkdir()
    model, tokenizer, tower = make(source)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.2)
    model.eval().save_pretrained(source)
    if name == "Siglip2Model":
        processor = transformers.Siglip2ImageProcessor(patch_size=8, max_num_patches=16)
    elif "Siglip" in name:
        processor = transformers.SiglipImageProcessor(size={"height": 32, "width": 32})
    else:
        processor = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor.save_pretrained(source)
    # A model of any proportions is folded to one size, at which square images have its own features.
    paths = images(place, name == "Siglip2Model")
    (place / "texts.txt").write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf8")
    wanted = expected(model, tokenizer, tower, processor, paths)
    subprocess.run([clipway, "export", source, "--tower", tower, "--out", out, "--quiet"], check=True, capture_output=True)
    problems = []
    for what, folder in (("the source", source), ("its export", out)):
        given = [*(paths if tower != "text" else []), *(["--texts-file", place / "texts.txt"] if tower != "image" else [])]
        features = place / "features.safetensors"
        subprocess.run([clipway, "embed", folder, *given, "--out", features, "--force", "--quiet"], check=True)
        found = load_file(features)
        for key, theirs in wanted.items():
            # Images of an export are open_clip's, which its notes tell; the source's are its own library's.
            if key == "image_features" and what == "its export":
                continue
            cosines = torch.nn.functional.cosine_similarity(theirs.double(), found[key].double())
            print(f"{name}, {what}, {key}: smallest cosine {float(cosines.min()):.7f}", flush=True)
            if not float(cosines.min()) >= LEAST:
                problems.append(f"{name}, {what}, {key}: {[round(float(cosine), 5) for cosine in cosines]}")
    return problems


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("clipway", type=Path)
    arguments.add_argument("--only", help="kinds whose name holds this")
    arguments = arguments.parse_args()
    problems, checked = [], 0
    for name, make in KINDS.items():
        if arguments.only and arguments.only not in name:
            continue
        checked += 1
        with tempfile.TemporaryDirectory() as place:
            problems += check(arguments.clipway.absolute(), name, make, Path(place))
    for problem in problems:
        print(f"FAILED {problem}")
    print(f"{checked} kinds, {len(problems)} failures")
    raise SystemExit(1 if problems or not checked else 0)


if __name__ == "__main__":
    main()
