"""Compares clipway with transformers, PEFT and timm on kinds of source beyond CLIPModel and SiglipModel:
`check_coverage.py CLIPWAY [--only NAME] [--fast]`.

Small models of each kind are made with weights by chance. Each is run by clipway as it is and as the folder that `clipway export`
makes of it, from strings and files of images, and compared with the features of its own library. The smallest cosine of each is
printed; all must be 0.99999 or more. Adapters are made and merged by PEFT, where it is installed. Models in the names of their own
code are read back by timm's conversion of these names, and every tensor of clipway's export must be equal to what timm makes.

`--real` gives each kind the sizes of a published model, with weights by chance. Each is made alone and removed afterwards; the largest,
MetaCLIP 2 with its 901,629 tokens, takes 2.3 GB on the disk and three times as much memory.
"""
import argparse
import importlib.util
import itertools
import random
import subprocess
import tempfile
from pathlib import Path

import numpy
import coverage_forced_naflex
import coverage_modern_bert
import coverage_modern_text
import coverage_naflex
import coverage_open_clip
import coverage_wrapped
import open_clip
import timm
import tokenizers
import torch
import transformers
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import load_file

VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
TEXT = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 300}
# Sizes for `--real`: those of ViT-B/32 and of CLIP's text tower, but for the kinds that are named, whose models are SigLIP's, Stable
# Diffusion's text encoder, MetaCLIP 2's worldwide B/32, Chinese-CLIP's B/16 and CLIP-Italian.
WIDE = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
REAL_VISION = WIDE | {"image_size": 224, "patch_size": 32}
REAL_TEXT = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8, "vocab_size": 49408}
REAL = {
    "CLIPTextModel": ({}, WIDE),
    "SiglipVisionModel": ({"patch_size": 16}, {}),
    "SiglipTextModel": ({}, WIDE | {"vocab_size": 32000}),
    "MetaClip2Model": ({}, {"vocab_size": 901629}),
    "ChineseCLIPModel": ({"patch_size": 16}, WIDE | {"vocab_size": 21128}),
    "VisionTextDualEncoderModel": ({}, WIDE | {"vocab_size": 31102}),
}
REAL_SCALE = 0.03
WORDS = 300
SIZES = {"projection_dim": 20, "context": 16, "positions": 40, "scale": 0.2}
TEXTS = ["a photo of a cat", "The red BIRD is blue.", "salt &amp; pepper", "the dog's ball, twice!", "a", "cat " * 40, "ﬁne  Ａｂｃ"]


def word_pieces(folder):
    """BERT's tokenizer over a small vocabulary."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters), "photo", "of", "cat", "the", ",", ".", "!"]
    words += [f"[unused{number}]" for number in range(WORDS - len(words))]
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
    model.add_tokens([f"zz{number}" for number in range(WORDS - model.get_vocab_size())])
    model.post_processor = tokenizers.processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", end)])
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=model, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
                                                unk_token="<unk>", model_max_length=SIZES["context"])
    made.save_pretrained(folder)
    return made


def pieces(folder):
    """MetaCLIP 2's kind of tokenizer, with its number of tokens: all combinations of up to four letters, each with a cost of its own, at
    the beginning of a word and within one."""
    draw = random.Random(6)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(word) for length in range(1, 5) for word in itertools.product(letters, repeat=length)]
    words = [begin + word for word in words for begin in ("\u2581", "")]
    kept = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -5.0), *((mark, -4.0) for mark in ",.!'")]
    kept += [(word, -draw.uniform(2, 6) * (1 + len(word) / 3)) for word in words[:TEXT["vocab_size"] - len(kept)]]
    model = tokenizers.Tokenizer(tokenizers.models.Unigram(kept, unk_id=3))
    model.normalizer = tokenizers.normalizers.Sequence([tokenizers.normalizers.NFKC(), tokenizers.normalizers.Lowercase()])
    model.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    model.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    model.post_processor = tokenizers.processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=model, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
                                                unk_token="<unk>", model_max_length=SIZES["context"])
    made.save_pretrained(folder)
    return made


def single(kind, config, tower, *widths):
    def make(folder):
        own = {"projection_dim": SIZES["projection_dim"], "projection_size": VISION["hidden_size"]}
        more = {width: own[width] for width in widths}
        model = getattr(transformers, kind)(getattr(transformers, config)(**(VISION if tower == "image" else text(3)), **more))
        tokenizer = byte_pairs(folder, 3) if tower == "text" else None
        return model, tokenizer, tower
    return make


def text(end):
    return dict(TEXT, max_position_embeddings=SIZES["context"], bos_token_id=0, pad_token_id=1, eos_token_id=end)


def metaclip(folder):
    config = transformers.MetaClip2Config(vision_config=VISION, text_config=text(2), projection_dim=SIZES["projection_dim"])
    is_real = TEXT["vocab_size"] > WORDS
    return transformers.MetaClip2Model(config), pieces(folder) if is_real else byte_pairs(folder, 2), "both"


def chinese(folder):
    config = transformers.ChineseCLIPConfig(vision_config=VISION, text_config=dict(TEXT, max_position_embeddings=SIZES["positions"]), projection_dim=SIZES["projection_dim"])
    return transformers.ChineseCLIPModel(config), word_pieces(folder), "both"


def dual(folder):
    config = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(
        transformers.CLIPVisionConfig(**VISION), transformers.BertConfig(**TEXT, max_position_embeddings=SIZES["positions"]), projection_dim=SIZES["projection_dim"])
    return transformers.VisionTextDualEncoderModel(config), word_pieces(folder), "both"


def naflex(folder):
    config = transformers.Siglip2Config(
        vision_config=dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, patch_size=8, num_patches=16),
        text_config=dict(TEXT, max_position_embeddings=SIZES["context"], bos_token_id=0, pad_token_id=1, eos_token_id=2, projection_size=32))
    return transformers.Siglip2Model(config), byte_pairs(folder, 2), "both"


KINDS = {
    "CLIPVisionModel": single("CLIPVisionModel", "CLIPVisionConfig", "image"),
    "CLIPVisionModelWithProjection": single("CLIPVisionModelWithProjection", "CLIPVisionConfig", "image", "projection_dim"),
    "CLIPTextModel": single("CLIPTextModel", "CLIPTextConfig", "text"),
    "CLIPTextModelWithProjection": single("CLIPTextModelWithProjection", "CLIPTextConfig", "text", "projection_dim"),
    "SiglipVisionModel": single("SiglipVisionModel", "SiglipVisionConfig", "image"),
    "SiglipTextModel": single("SiglipTextModel", "SiglipTextConfig", "text", "projection_size"),
    "MetaClip2VisionModelWithProjection": single("MetaClip2VisionModelWithProjection", "MetaClip2VisionConfig", "image", "projection_dim"),
    "MetaClip2Model": metaclip,
    "ChineseCLIPModel": chinese,
    "VisionTextDualEncoderModel": dual,
    "Siglip2Model": naflex,
}


def clip(folder):
    config = transformers.CLIPConfig(vision_config=VISION, text_config=text(3), projection_dim=SIZES["projection_dim"])
    return transformers.CLIPModel(config), byte_pairs(folder, 3), "both"


ADAPTERS = {
    "plain": {"target_modules": ["q_proj", "v_proj"], "lora_alpha": 6},
    "rslora, patterns, bias": {"target_modules": ["fc1", "out_proj"], "use_rslora": True, "bias": "lora_only", "rank_pattern": {"fc1": 2},
                               "alpha_pattern": {"out_proj": 11}},
    "DoRA": {"target_modules": ["k_proj", "fc2", "text_projection"], "use_dora": True},
    "convolution and embedding": {"target_modules": ["patch_embedding", "token_embedding"]},
    "module saved whole": {"target_modules": ["q_proj"], "modules_to_save": ["visual_projection"]},
}


def drawn(model):
    """The model with every parameter drawn from a normal distribution."""
    return coverage_open_clip.drawn(model, SIZES["scale"])


def enlarge(name):
    """Gives the model of a kind real sizes."""
    vision, text = REAL.get(name, ({}, {}))
    VISION.update(REAL_VISION | vision)
    TEXT.update(REAL_TEXT | text)
    SIZES.update(projection_dim=512, context=64 if "Siglip" in name else 77, positions=512, scale=REAL_SCALE)
    coverage_open_clip.enlarge(REAL_SCALE)


def clip_processor():
    side = VISION["image_size"]
    return transformers.CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})


def adapted(clipway, name, place):
    """An adapter's folder with `--base`, against PEFT's own merging."""
    import peft
    torch.manual_seed(11)
    base, adapter = place / "base", place / "adapter"
    base.mkdir()
    model, tokenizer, _ = clip(base)
    drawn(model).save_pretrained(base)
    processor = clip_processor()
    processor.save_pretrained(base)
    wrapped = peft.get_peft_model(model, peft.LoraConfig(r=4, init_lora_weights=False, **ADAPTERS[name]))
    for key, parameter in wrapped.named_parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
    wrapped.save_pretrained(adapter)
    paths = images(place, False)
    (place / "texts.txt").write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf8")
    before = expected(transformers.CLIPModel.from_pretrained(base), tokenizer, "both", processor, paths)
    wanted = expected(wrapped.merge_and_unload().eval(), tokenizer, "both", processor, paths)
    features = place / "features.safetensors"
    subprocess.run([clipway, "embed", adapter, "--base", base, *paths, "--texts-file", place / "texts.txt", "--out", features, "--quiet"], check=True)
    found, problems = load_file(features), []
    moved = max(float((before[key] - wanted[key]).abs().max()) for key in wanted)
    if not moved > 0.001:
        problems.append(f"adapter, {name}: it changes nothing")
    problems += coverage_open_clip.compared(f"adapter, {name}", wanted, found)
    subprocess.run([clipway, "export", adapter, "--base", base, "--out", place / "out", "--quiet"], check=True, capture_output=True)
    return problems


def own_names(state_dict, model):
    """A state dict of open_clip in the names of the model's own code."""
    made = {}
    for name, tensor in state_dict.items():
        rest = name.removeprefix("visual.trunk.")
        if rest == name:
            made[name.removeprefix("text.") if model.startswith("PE") else name] = tensor
        elif model.startswith("EVA"):
            for ours, theirs in (("mlp.norm.", "mlp.ffn_ln."), ("attn.norm.", "attn.inner_attn_ln."), ("mlp.fc2.", "mlp.w3."), ("mlp.fc1_g.", "mlp.w1."),
                                 ("mlp.fc1_x.", "mlp.w2."), ("q_proj.bias", "q_bias"), ("v_proj.bias", "v_bias")):
                rest = rest.replace(ours, theirs)
            made["visual." + rest] = tensor
        elif rest == "head.weight":
            made["visual.proj"] = tensor.T.contiguous()
        elif rest.startswith("attn_pool.q."):
            others = state_dict[name.replace(".q.", ".kv.")]
            made["visual.attn_pool.attn.in_proj_" + rest.rsplit(".", 1)[1]] = torch.cat([tensor, others])
        elif rest not in ("head.bias", "attn_pool.kv.weight", "attn_pool.kv.bias"):
            tensor = tensor.reshape(tensor.shape[-1]) if rest == "cls_token" else tensor[0] if rest == "pos_embed" else tensor
            rest = rest.replace("attn_pool.proj.", "attn_pool.attn.out_proj.")
            for ours, theirs in (("attn_pool.latent", "attn_pool.probe"), ("attn_pool.norm.", "attn_pool.layernorm."), ("patch_embed.proj.", "conv1."),
                                 ("cls_token", "class_embedding"), ("pos_embed", "positional_embedding"), ("norm_pre.", "ln_pre."), ("norm1.", "ln_1."),
                                 ("norm2.", "ln_2."), ("attn.qkv.", "attn.in_proj_"), ("attn.proj.", "attn.out_proj."), ("mlp.fc1.", "mlp.c_fc."),
                                 ("mlp.fc2.", "mlp.c_proj."), ("blocks.", "transformer.resblocks.")):
                rest = rest.replace(ours, theirs)
            made["visual." + ("ln_post." + rest[5:] if rest.startswith("norm.") else rest)] = tensor
    return made


def in_own_names(clipway, name, place):
    """A model in the names of its own code, against timm's conversion of these."""
    torch.manual_seed(5)
    model = open_clip.create_model(name)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.05)
    if name.startswith("PE"):
        model.visual.trunk.head.bias.data.zero_()
    theirs = own_names(model.state_dict(), name)
    torch.save(theirs, place / "own.pt")
    subprocess.run([clipway, "export", place / "own.pt", "--model", name, "--out", place / "out", "--quiet"], check=True, capture_output=True)
    found = load_file(next((place / "out").glob("*.safetensors")))
    wanted = {f"visual.trunk.{key}": value for key, value in timm.models.eva.checkpoint_filter_fn(theirs, model.visual.trunk).items()}
    text = {key: value for key, value in model.state_dict().items() if not key.startswith("visual.")}
    problems = [f"{name}, {key}" for key in {*wanted, *text, *found} if not torch.equal((wanted | text).get(key, torch.empty(0)), found.get(key, torch.ones(1)))]
    print(f"{name}: {len(found) - len(problems)} of {len(found)} tensors are equal to timm's", flush=True)
    preprocess = open_clip.get_pretrained_cfg(name, open_clip.list_pretrained_tags_by_model(name)[0])
    keys = ("mean", "std", "interpolation", "resize_mode")
    preprocess = {key: preprocess[key] for key in keys if preprocess.get(key)}
    transform = image_transform_v2(PreprocessCfg(size=model.visual.image_size, **preprocess), is_train=False)
    paths = images(place, False)
    wanted = coverage_open_clip.of_open_clip(model.eval(), open_clip.get_tokenizer(name), transform, paths)
    given = ("--model", name)
    return problems + coverage_open_clip.compared(name, wanted, coverage_open_clip.embedded(clipway, place, place / "own.pt", paths, *given))


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
    drawn(model).save_pretrained(source)
    if name == "Siglip2Model":
        processor = transformers.Siglip2ImageProcessor(patch_size=8, max_num_patches=16)
    elif "Siglip" in name:
        processor = transformers.SiglipImageProcessor(size={"height": VISION["image_size"], "width": VISION["image_size"]})
    else:
        processor = clip_processor()
    processor.save_pretrained(source)
    # A model of any proportions is folded to one size, at which square images have its own features.
    paths = images(place, name == "Siglip2Model")
    (place / "texts.txt").write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf8")
    wanted = expected(model, tokenizer, tower, processor, paths)
    # A large one leaves its memory to clipway.
    del model
    subprocess.run([clipway, "export", source, "--tower", tower, "--out", out, "--quiet"], check=True, capture_output=True)
    problems = []
    for what, folder in (("the source", source), ("its export", out)):
        given = [*(paths if tower != "text" else []), *(["--texts-file", place / "texts.txt"] if tower != "image" else [])]
        features = place / "features.safetensors"
        subprocess.run([clipway, "embed", folder, *given, "--out", features, "--force", "--quiet"], check=True)
        found = load_file(features)
        # Images of an export are open_clip's, which its notes tell; the source's are its own library's.
        theirs = {key: value for key, value in wanted.items() if key != "image_features" or what == "the source"}
        problems += coverage_open_clip.compared(f"{name}, {what}", theirs, found)
    return problems


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("clipway", type=Path)
    arguments.add_argument("--only", help="the kind of this name, or those whose name holds it")
    arguments.add_argument("--fast", action="store_true", help="leave out the models of real size")
    arguments.add_argument("--real", action="store_true", help="make models of real size")
    arguments = arguments.parse_args()
    problems, checked = [], 0
    checks = [(name, lambda clipway, name, place: check(clipway, name, KINDS[name], place)) for name in KINDS]
    if importlib.util.find_spec("peft"):
        checks += [(name, adapted) for name in ADAPTERS]
    else:
        print("skipped: adapters, since PEFT is not installed")
    for name, run in (coverage_open_clip.KINDS | coverage_wrapped.KINDS).items():
        checks.append((name, lambda clipway, name, place, run=run: run(clipway, name, place, images(place, False))))
    if arguments.real:
        # Of real size it is among the kinds of NaFlex; texts have none.
        others = ("Siglip2Model", "vocab.txt")
        checks = [(name, run) for name, run in checks if name not in others]
    for name, run in (coverage_naflex.KINDS | coverage_forced_naflex.KINDS | coverage_modern_bert.KINDS | coverage_modern_text.KINDS).items():
        checks.append((name, lambda clipway, name, place, run=run: run(clipway, name, place, images(place, False), arguments.real)))
    if not arguments.fast:
        checks += [(name, in_own_names) for name in ("PE-Core-T-16-384", "EVA02-B-16")]
    of_one_size = ("ModernText",) if arguments.real else (*coverage_naflex.REAL_ONLY, *coverage_modern_text.OWN_KINDS)
    checks = [(name, run) for name, run in checks if name not in of_one_size]
    if arguments.only:
        exact = [(name, run) for name, run in checks if name == arguments.only]
        checks = exact or [(name, run) for name, run in checks if arguments.only in name]
    for name, run in checks:
        checked += 1
        if arguments.real:
            enlarge(name)
        with tempfile.TemporaryDirectory() as place:
            problems += run(arguments.clipway.absolute(), name, Path(place))
    for problem in problems:
        print(f"FAILED {problem}")
    print(f"{checked} kinds, {len(problems)} failures")
    raise SystemExit(1 if problems or not checked else 0)


if __name__ == "__main__":
    # The modules of further kinds import this one, whose sizes there are once.
    import check_coverage
    check_coverage.main()
