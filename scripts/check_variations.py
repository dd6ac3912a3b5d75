"""Folders of transformers whose files are changed in one place each, read by transformers and by clipway: `check_variations.py CLIPWAY`.

clipway must give transformers' features of the same texts and images, or refuse the folder with a code: wrong features, a panic
and a refusal without a code are failures.
"""
import argparse
import contextlib
import io
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors import safe_open

import oracle_sources
from check_oracle import LEAST, images, texts, worst
from oracle_siblings import bert, edit, gemma, plain, roberta, t5, xlm_roberta
from oracle_sources import Reading, features

PROCESSOR, STALE, CONFIG, MODEL, JSON = (
    "processor_config.json", "preprocessor_config.json", "tokenizer_config.json", "config.json", "tokenizer.json")

BASES = {
    "clip5": lambda place: oracle_sources.transformers_clip(place, "v5"),
    "clip4": lambda place: oracle_sources.transformers_clip(place, "v4"),
    "siglip": oracle_sources.transformers_siglip,
    "siglip2-5": lambda place: oracle_sources.transformers_siglip2(place, "v5"),
    "siglip2-4": lambda place: oracle_sources.transformers_siglip2(place, "v4"),
    "words": lambda place: plain(place),
    "bert": lambda place: bert(place),
    "roberta": lambda place: roberta(place),
    "xlm": lambda place: xlm_roberta(place),
    "t5": lambda place: t5(place),
    "gemma": lambda place: gemma(place),
}


def at(value, path):
    for key in path:
        value = value[int(key) if isinstance(value, list) else key]
    return value


def sets(file, values=None, **more):
    """Sets keys of a JSON file; a dotted key names one inside. `...` removes a key."""
    def change(folder):
        path = folder / file
        if not path.exists():
            path.write_text("{}")
        whole = json.loads(path.read_text())
        for key, new in {**(values or {}), **more}.items():
            *outer, last = key.split("/")
            inner = at(whole, outer)
            last = int(last) if isinstance(inner, list) else last
            if new is ...:
                inner.pop(last, None)
            else:
                inner[last] = new
        path.write_text(json.dumps(whole))
    return change


def nested(**values):
    """Keys of the image processor that version 5 writes."""
    return sets(PROCESSOR, {f"image_processor/{key}": value for key, value in values.items()})


def removes(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


def writes(name, value):
    return lambda folder: (folder / name).write_text(value if isinstance(value, str) else json.dumps(value))


def both(*changes):
    return lambda folder: [change(folder) for change in changes]


def flat_processor(folder):
    """The image processor's keys at the top of `processor_config.json`, as a processor of one part would be."""
    keys = json.loads((folder / PROCESSOR).read_text())["image_processor"]
    (folder / PROCESSOR).write_text(json.dumps(keys))


def other_words(folder):
    """`vocab.json` with two words' ids exchanged."""
    def change(words):
        a, b = "cat</w>", "dog</w>"
        words[a], words[b] = words[b], words[a]
    edit(folder / "vocab.json", change)


def fast_beside(folder):
    """A `tokenizer.json` beside `vocab.json` and `merges.txt` that says otherwise about two words."""
    made = transformers.CLIPTokenizer.from_pretrained(folder)
    with tempfile.TemporaryDirectory() as other:
        made.save_pretrained(other)
        shutil.copy(Path(other) / JSON, folder / JSON)
    def change(value):
        words = value["model"]["vocab"]
        words["cat</w>"], words["dog</w>"] = words["dog</w>"], words["cat</w>"]
    edit(folder / JSON, change)


def fewer_merges(folder):
    lines = (folder / "merges.txt").read_text(encoding="utf8").splitlines()
    (folder / "merges.txt").write_text("\n".join(lines[:2000]) + "\n", encoding="utf8")


PIXELS = {
    "no resize": {"do_resize": False},
    "no crop": {"do_center_crop": False},
    "no crop, exact size": {"do_center_crop": False, "size": {"height": 48, "width": 48}},
    "no rescale": {"do_rescale": False},
    "no normalize": {"do_normalize": False},
    "no RGB": {"do_convert_rgb": False},
    "crop a number": {"crop_size": 48},
    "crop a list": {"crop_size": [48, 48]},
    "size a number": {"size": 48},
    "size a number, exact": {"size": 48, "do_center_crop": False, "default_to_square": True},
    "size a list": {"size": [48, 48]},
    "shortest and longest": {"size": {"shortest_edge": 48, "longest_edge": 60}},
    "longest alone": {"size": {"longest_edge": 48}},
    "larger resize": {"size": {"shortest_edge": 56}},
    "smaller resize": {"size": {"shortest_edge": 40}},
    "other crop": {"crop_size": {"height": 40, "width": 40}},
    "max height and width": {"size": {"max_height": 48, "max_width": 48}},
    "nearest": {"resample": 0}, "lanczos": {"resample": 1}, "bilinear": {"resample": 2}, "box": {"resample": 4}, "hamming": {"resample": 5},
    "resample 9": {"resample": 9}, "resample a word": {"resample": "bicubic"}, "resample none": {"resample": None},
    "factor 1/127.5": {"rescale_factor": 1 / 127.5}, "factor 1": {"rescale_factor": 1.0}, "factor 0": {"rescale_factor": 0}, "factor a text": {"rescale_factor": "1/255"},
    "mean of one": {"image_mean": [0.5]}, "std of one": {"image_std": [0.5]}, "mean a number": {"image_mean": 0.5}, "both numbers": {"image_mean": 0.5, "image_std": 0.25},
    "mean of two": {"image_mean": [0.5, 0.5]}, "mean of four": {"image_mean": [0.5] * 4}, "std zero": {"image_std": [0, 0.2, 0.2]}, "mean null": {"image_mean": None, "image_std": None},
    "pad": {"do_pad": True}, "pad size": {"do_pad": True, "pad_size": {"height": 60, "width": 60}},
    "other processor": {"image_processor_type": "SiglipImageProcessor"}, "slow class": {"image_processor_type": "CLIPImageProcessorPil"},
    "fast class": {"image_processor_type": "CLIPImageProcessorFast"}, "feature extractor": {"image_processor_type": ..., "feature_extractor_type": "CLIPFeatureExtractor"},
    "no class": {"image_processor_type": ...}, "unknown class": {"image_processor_type": "MyImageProcessor"}, "ViT's class": {"image_processor_type": "ViTImageProcessor"},
    "Blip's class": {"image_processor_type": "BlipImageProcessor"}, "ConvNeXt's class": {"image_processor_type": "ConvNextImageProcessor"},
    "unknown key": {"do_sharpen": True}, "data_format": {"data_format": "channels_last"}, "input format": {"input_data_format": "channels_last"},
    "default_to_square": {"default_to_square": True}, "do_rescale a number": {"do_rescale": 1}, "do_resize null": {"do_resize": None}, "size null": {"size": None},
    "backend": {"backend": "pil"}, "use_fast false": {"use_fast": False}, "auto_map": {"auto_map": {"AutoImageProcessor": "my--processor.Mine"}},
    "antialias": {"antialias": False}, "do_flip": {"do_flip_channel_order": True}, "crop_pct": {"crop_pct": 0.9}, "offset": {"offset": True},
}

TOKENS = {
    "length 12": {"model_max_length": 12}, "length 40": {"model_max_length": 40}, "length none": {"model_max_length": ...}, "length 1e30": {"model_max_length": 10 ** 30},
    "length 0": {"model_max_length": 0}, "length 2": {"model_max_length": 2}, "length text": {"model_max_length": "77"}, "length float": {"model_max_length": 12.0},
    "lower false": {"do_lower_case": False}, "lower true": {"do_lower_case": True}, "pad left": {"padding_side": "left"}, "pad wrong": {"padding_side": "middle"},
    "cut left": {"truncation_side": "left"}, "no begin": {"add_bos_token": False}, "begin": {"add_bos_token": True}, "no end": {"add_eos_token": False}, "end": {"add_eos_token": True},
    "chat": {"chat_template": "{{ messages }}"}, "prefix space": {"add_prefix_space": True}, "clean up": {"clean_up_tokenization_spaces": True},
    "other pad": {"pad_token": "!"}, "pad 0": {"pad_token": "<pad>"}, "no pad": {"pad_token": ...}, "pad null": {"pad_token": None}, "pad new": {"pad_token": "[PAD]"},
    "other end": {"eos_token": "!"}, "end null": {"eos_token": None}, "other begin": {"bos_token": "!"}, "begin null": {"bos_token": None}, "unk": {"unk_token": "!"}, "unk new": {"unk_token": "[UNK]"},
    "no class": {"tokenizer_class": ...}, "fast class": {"tokenizer_class": "CLIPTokenizerFast"}, "plain class": {"tokenizer_class": "PreTrainedTokenizerFast"},
    "GPT-2's class": {"tokenizer_class": "GPT2Tokenizer"}, "BERT's class": {"tokenizer_class": "BertTokenizer"}, "backend class": {"tokenizer_class": "TokenizersBackend"},
    "unknown class": {"tokenizer_class": "MyTokenizer"}, "Siglip's class": {"tokenizer_class": "SiglipTokenizer"}, "Gemma's class": {"tokenizer_class": "GemmaTokenizer"},
    "auto_map": {"auto_map": {"AutoTokenizer": ["my--tok.Tok", None]}}, "split special": {"split_special_tokens": True}, "errors": {"errors": "strict"},
    "decoder": {"added_tokens_decoder": {"49407": {"content": "<|endoftext|>", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}}},
    "decoder new": {"added_tokens_decoder": {"320": {"content": "photo", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False, "special": False}}},
    "decoder high": {"added_tokens_decoder": {"49408": {"content": "toto", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False, "special": False}}},
    "additional": {"additional_special_tokens": ["cat", "dog"]}, "extra special": {"extra_special_tokens": {"image_token": "cat"}}, "special list": {"extra_special_tokens": ["cat"]},
    "pad a dict": {"pad_token": {"__type": "AddedToken", "content": "!", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}},
    "language": {"src_lang": "de"}, "strip accents": {"strip_accents": True}, "stride": {"stride": 3}, "max_length": {"max_length": 8}, "pad_to": {"pad_to_max_length": True},
    "truncation": {"truncation": True, "max_length": 9}, "canonicalize": {"do_canonicalize": True}, "canonicalize off": {"do_canonicalize": False}, "prefix_space false": {"add_prefix_space": False},
    "tokenizer_file": {"tokenizer_file": "other.json"}, "vocab_file": {"vocab_file": "other.json"}, "unknown key": {"something": 1}, "legacy": {"legacy": False},
    "model_input_names": {"model_input_names": ["pixel_values"]}, "special_tokens_map_file": {"special_tokens_map_file": None}, "name_or_path": {"name_or_path": "/x/y"},
}

FILES = {
    "added_tokens": writes("added_tokens.json", {"toto": 49408}), "added_tokens known": writes("added_tokens.json", {"<|endoftext|>": 49407}),
    "added_tokens low": writes("added_tokens.json", {"photo": 5}), "added_tokens list": writes("added_tokens.json", "[1]"),
    "special map": writes("special_tokens_map.json", {"pad_token": "!"}), "special map odd": writes("special_tokens_map.json", {"odd_token": "!", "eos_token": "<|endoftext|>"}),
    "special map end": writes("special_tokens_map.json", {"eos_token": "!"}), "special map null": writes("special_tokens_map.json", {"pad_token": None}),
    "special map dict": writes("special_tokens_map.json", {"pad_token": {"content": "!", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}}),
    "chat file": writes("chat_template.jinja", "{{ x }}"), "chat json": writes("chat_template.json", {"chat_template": "x"}), "generation": writes("generation_config.json", {"max_length": 5}),
    "README": writes("README.md", "# x"), "video": writes("video_preprocessor_config.json", {"size": 3}),
}

MODELS = {
    "end 2": {"text_config/eos_token_id": 2}, "end 320": {"text_config/eos_token_id": 320}, "end none": {"text_config/eos_token_id": ...}, "end list": {"text_config/eos_token_id": [49407]},
    "end null": {"text_config/eos_token_id": None}, "pad 0": {"text_config/pad_token_id": 0}, "begin 5": {"text_config/bos_token_id": 5}, "eps": {"text_config/layer_norm_eps": 1e-3},
    "image eps": {"vision_config/layer_norm_eps": 1e-3}, "gelu": {"text_config/hidden_act": "gelu", "vision_config/hidden_act": "gelu"}, "one gelu": {"text_config/hidden_act": "gelu"},
    "gelu_new": {"text_config/hidden_act": "gelu_new", "vision_config/hidden_act": "gelu_new"}, "relu": {"text_config/hidden_act": "relu", "vision_config/hidden_act": "relu"},
    "dtype": {"dtype": "float16"}, "torch_dtype": {"torch_dtype": "bfloat16"}, "tokenizer_class": {"tokenizer_class": "GPT2Tokenizer"}, "type siglip": {"model_type": "siglip"},
    "logit": {"logit_scale_init_value": 1.0}, "scale attn": {"text_config/attention_dropout": 0.5}, "output": {"output_attentions": True}, "heads 2": {"text_config/num_attention_heads": 2},
    "proj": {"projection_dim": 23}, "layers 1": {"text_config/num_hidden_layers": 1}, "image 60": {"vision_config/image_size": 60}, "channels": {"vision_config/num_channels": 1},
    "positions": {"text_config/max_position_embeddings": 18}, "rows": {"text_config/vocab_size": 49400}, "architectures": {"architectures": ["CLIPTextModel"]}, "no architectures": {"architectures": ...},
    "factor": {"initializer_factor": 2.0}, "quantization": {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}, "attn": {"_attn_implementation": "eager"},
    "top act": {"hidden_act": "gelu"}, "text_config_dict": {"text_config_dict": {"layer_norm_eps": 1e-2}}, "vision_config_dict": {"vision_config_dict": {"hidden_act": "gelu"}},
    "text_config_dict end": {"text_config_dict": {"eos_token_id": 2}}, "text dict null": {"text_config_dict": None}, "vision head": {"vision_config/vision_use_head": False},
    "text projection": {"text_config/projection_size": 12}, "pooling": {"text_config/pooling": "mean"}, "rope": {"text_config/rope_theta": 10000.0},
}


def clip_json(**values):
    return sets(JSON, values)


OTHERS = {
    ("clip5", "processor flat"): flat_processor,
    ("clip5", "stale alone"): removes(PROCESSOR),
    ("clip5", "no stale"): removes(STALE),
    ("clip5", "no processor"): removes(PROCESSOR, STALE),
    ("clip5", "processor without an image part"): sets(PROCESSOR, {"image_processor": ...}),
    ("clip5", "image part null"): sets(PROCESSOR, {"image_processor": None}),
    ("clip5", "processor of another class"): sets(PROCESSOR, processor_class="LlavaProcessor"),
    ("clip5", "feature_extractor part"): lambda folder: edit(folder / PROCESSOR, lambda v: v.update(feature_extractor=v.pop("image_processor"))),
    ("clip5", "flat keys beside the part"): sets(PROCESSOR, image_mean=[0.1, 0.2, 0.3]),
    ("clip5", "tokenizer part"): sets(PROCESSOR, tokenizer={"model_max_length": 9}),
    ("clip5", "no tokenizer_config"): removes(CONFIG),
    ("clip5", "json normalizer"): clip_json(normalizer={"type": "Lowercase"}),
    ("clip5", "json pre"): clip_json(pre_tokenizer={"type": "Whitespace"}),
    ("clip5", "json post"): clip_json(post_processor=None),
    ("clip5", "json suffix"): clip_json(**{"model/end_of_word_suffix": ""}),
    ("clip5", "json dropout"): clip_json(**{"model/dropout": 0.5}),
    ("clip5", "json truncation"): clip_json(truncation={"direction": "Left", "max_length": 8, "strategy": "LongestFirst", "stride": 0}),
    ("clip5", "json padding"): clip_json(padding={"strategy": "BatchLongest", "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "!"}),
    ("clip5", "json added lower"): clip_json(added_tokens=[{"id": 320, "content": "photo", "single_word": False, "lstrip": True, "rstrip": True, "normalized": False, "special": False}]),
    ("clip5", "json no added"): clip_json(added_tokens=[]),
    ("clip5", "json unk"): clip_json(**{"model/unk_token": "!"}),
    ("clip5", "json ignore merges"): clip_json(**{"model/ignore_merges": True}),
    ("clip5", "json byte fallback"): clip_json(**{"model/byte_fallback": True}),
    ("clip5", "json version"): clip_json(version="2.0"),
    ("clip4", "words exchanged"): other_words,
    ("clip4", "another tokenizer.json beside"): fast_beside,
    ("clip4", "fewer merges"): fewer_merges,
    ("clip4", "no merges"): removes("merges.txt"),
    ("clip4", "no vocab"): removes("vocab.json"),
    ("clip4", "no config"): removes(CONFIG),
    ("clip4", "nothing but vocab"): removes(CONFIG, "merges.txt"),
    ("siglip", "no tokenizer"): removes("spiece.model", CONFIG),
    ("siglip", "no spiece"): removes("spiece.model"),
    ("siglip", "no config"): removes(CONFIG),
    ("siglip2-5", "no config"): removes(CONFIG),
    ("siglip2-4", "no config"): removes(CONFIG),
    ("siglip2-5", "no tokenizer"): removes(JSON, CONFIG),
}


PROCESSOR_WORDS = re.compile("process|stale|image part|feature|flat keys")


def variations():
    """Each change: its name, the base, what it is about, and the change."""
    for name, values in PIXELS.items():
        for base in ("clip4", "siglip"):
            yield f"{base}: pixels: {name}", base, "pixels", sets(STALE, values)
    for name in ("no crop", "no rescale", "size a number", "mean a number", "slow class", "backend", "resample a word", "unknown class", "other processor"):
        yield f"clip5: nested pixels: {name}", "clip5", "pixels", nested(**PIXELS[name])
    for base in BASES:
        for name, values in TOKENS.items():
            yield f"{base}: tokenizer_config: {name}", base, "tokens", sets(CONFIG, values)
    for base in ("clip5", "clip4", "siglip2-5", "words"):
        for name, change in FILES.items():
            yield f"{base}: file: {name}", base, "tokens", change
    for base in ("clip4", "siglip"):
        for name, values in MODELS.items():
            yield f"{base}: config: {name}", base, "config", sets(MODEL, values)
    for (base, name), change in OTHERS.items():
        yield f"{base}: {name}", base, "pixels" if PROCESSOR_WORDS.search(name) else "tokens", change


def refusal(done):
    """The code of a refusal, and its first words."""
    codes = re.findall(r"\[([a-z0-9-]+)\]", done.stderr)
    return codes[0] if codes else None, " ".join(done.stderr.split())[:230]


class Judge:
    """The program, and what all folders are asked."""

    def __init__(self, clipway, place):
        self.clipway, self.place = clipway, place
        self.items, self.paths = texts(60), images(9, place / "images")
        (place / "texts.txt").write_text("".join(f"{text}\n" for text in self.items), encoding="utf8")
        self.models = {}

    def library(self, folder, base, kind):
        """transformers' features of the kind's inputs, and the files that it takes."""
        key = base, kind == "config" and (folder / MODEL).read_text()
        if key not in self.models or kind == "config":
            self.models[key] = transformers.AutoModel.from_pretrained(folder).eval()
        model = self.models[key]
        if kind == "pixels":
            processor = transformers.AutoImageProcessor.from_pretrained(folder)
            side = model.config.vision_config.image_size

            def pixels(image):
                found = processor(image, return_tensors="pt")["pixel_values"][0]
                if found.shape != (3, side, side):
                    raise ValueError(f"the model cannot take {tuple(found.shape)}")
                return found

            reading = Reading(None, pixels, lambda some: model.get_image_features(pixel_values=some))
            return reading.images(self.paths)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        length = min(tokenizer.model_max_length, model.config.text_config.max_position_embeddings)
        # clipway pads on the right where nothing states a side, whatever the class, and notes it.
        states = (folder / CONFIG).exists() and json.loads((folder / CONFIG).read_text()).get("padding_side")
        pads_left = not states and (base.startswith(("siglip2", "gemma")) or type(tokenizer).__name__ == "GemmaTokenizer")
        padding = {"padding_side": "right"} if pads_left else {}
        ids = tokenizer(self.items, padding="max_length", max_length=length, truncation=True, return_tensors="pt", **padding)["input_ids"]
        with torch.no_grad():
            return None, features(model.get_text_features(input_ids=ids))

    def judge(self, folder, base, kind):
        """What came out, in a word, and what to know of it."""
        expected = None
        try:
            taken, expected = self.library(folder, base, kind)
        except Exception as error:
            cause = f"{type(error).__name__}: {str(error)[:90]}".replace("\n", " ")
        out = self.place / "features.safetensors"
        out.unlink(missing_ok=True)
        inputs = self.paths if kind == "pixels" else ["--texts-file", self.place / "texts.txt"]
        done = subprocess.run([self.clipway, "embed", folder, *inputs, "--out", out, "--force", "--quiet"], capture_output=True, text=True)
        if "panicked" in done.stderr:
            return "PANIC", done.stderr[:300]
        if not out.exists():
            code, said = refusal(done)
            return ("NO CODE" if code is None else "both refuse" if expected is None else "refused"), said
        if expected is None:
            return "taken", f"transformers refuses: {cause}"
        with safe_open(out, "pt") as file:
            found, metadata = file.get_tensor("image_features" if kind == "pixels" else "text_features"), file.metadata()
        names = self.items
        if kind == "pixels":
            files = json.loads(metadata["files"])
            names = [path.name for path in taken]
            if missing := [path.name for path in taken if str(path) not in files]:
                return "IMAGES", f"refused: {missing}"
            found = found[[files.index(str(path)) for path in taken]]
        cosine, which = worst(expected, found, names)
        if cosine < LEAST:
            return "WRONG", f"{cosine:.6f} of {which!r}"
        return "right", f"{cosine:.7f} of {len(names)}"


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("clipway", type=Path)
    arguments.add_argument("--only", default="", help="changes whose name contains a match of this regular expression")
    arguments = arguments.parse_args()
    counts, failed = {}, []
    with tempfile.TemporaryDirectory() as root:
        root = Path(root)
        judge = Judge(arguments.clipway.absolute(), root)
        made = {}
        for name, base, kind, change in variations():
            if not re.search(arguments.only, name):
                continue
            if base not in made:
                (root / base).mkdir()
                made[base] = BASES[base](root / base / "folder").path
            folder = root / "changed"
            shutil.copytree(made[base], folder)
            change(folder)
            with contextlib.redirect_stdout(io.StringIO()):
                outcome, told = judge.judge(folder, base, kind)
            shutil.rmtree(folder)
            print(f"{outcome:12} {name}: {told}", flush=True)
            counts[outcome] = counts.get(outcome, 0) + 1
            if outcome.isupper():
                failed.append(name)
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    raise SystemExit(1 if failed or not counts else 0)


if __name__ == "__main__":
    main()
