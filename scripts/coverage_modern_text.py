"""open_clip's ModernText towers, alone and beside NaFlex towers; `check_coverage.py` runs them.

The judge is open_clip's main branch, which runs in a process of its own: `OPEN_CLIP_MAIN` names the `src` of a checkout. Where it is
absent, these kinds are skipped. Texts of tiktoken's encodings need that package and its files in `TIKTOKEN_CACHE_DIR`; where they
are absent, other tokenizers take their place.
"""
import base64
import functools
import json
import os
import random
import subprocess
import sys
from pathlib import Path

TEXTS = ["a photo of a cat", "The red BIRD is blue.", "the dog's ball, twice!", "a", "cat and_dog " * 60, "ﬁne  Ａｂｃ &amp; 12345 <|endoftext|>"]
POOLS = ["abc dog cat's I'll DON'T ", "ÉüİßẞΣς ", "中国日本語 ", "!?',.-_()[]{}<|> ", "012345 67 ", "\u0301\u200b\u00ad", "    ", "\t\u00a0\u3000 ",
         "😀👍🏽कि ", "Photo of THE cats "]
DRAW = random.Random(4)
DRAWN = ["x" + "".join(DRAW.choice(DRAW.choice(POOLS)) for _ in range(DRAW.randrange(1, 40))) + "." for _ in range(300)]
BASE = {"text_arch": "modern", "context_length": 24, "variable_text": True, "width": 32, "heads": 2, "layers": 3, "mlp_ratio": 2.6666667}
VISION = {"image_size": 32, "layers": 2, "width": 48, "head_width": 16, "patch_size": 8}
NAFLEX = {"image_size": 32, "image_seq_len": 16, "timm_model_pretrained": False}
SMALL = {"patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3, "mlp_ratio": 2.6666667, "pos_embed_grid_size": [4, 4]}
EVERYTHING = {"attn_gated": True, "qk_norm": True, "value_residual": True, "pre_norm": True, "norm_placement": "sandwich", "ls_init_value": 0.5,
              "reg_tokens": 3, "attention_bias": True, "mlp_bias": True, "proj_bias": True, "rope_temperature": 500.0}
OWN_CONFIGS = ("moderntext-ViT-B-32-256", "moderntext-naflex_ViT-B-32", "moderntext-naflex_ViT-B-16", "moderntext-naflex_ViT-B-deep-16",
               "moderntext-naflex_ViT-SO150M2-16")


def tokenizers():
    """How texts are read, by name: the keys that a config takes for it."""
    clip = {"vocab_size": 49408, "pad_id": 0, "eos_id": 49407, "variable_text": False}
    own = {"vocab_size": 300, "pad_id": 1, "bos_id": 0, "eos_id": 3, "hf_tokenizer_name": "own"}
    kinds = {"CLIP's tokenizer": clip, "its own tokenizer": own}
    sizes = {"r50k_base": 50257, "cl100k_base": 100277, "p50k_base": 50281, "o200k_base": 200019}
    for name, size in sizes.items():
        kinds[name] = {"vocab_size": size + 3, "eos_id": size, "pad_id": size + 1, "bos_id": size + 2, "tokenizer_type": "tiktoken", "tiktoken_name": name}
    return kinds


def cases():
    """Config by name: each attention, pool, MLP and norm, with each tokenizer somewhere, and all options at once."""
    kinds = tokenizers()
    texts = {
        "causal, end token": ("r50k_base", {"attn_gated": True}),
        "both ways, query": ("r50k_base", {"attention_mode": "bidirectional", "pool_type": "map", "qk_norm": True, "norm_eps": 1e-5, "attn_gated": True,
                                           "tokenizer_kwargs": {"clean": "whitespace"}}),
        "mean, squared ReLU": ("cl100k_base", {"pool_type": "mean", "mlp_type": "relu2", "attention_mode": "bidirectional", "reg_tokens": 2,
                                               "tokenizer_kwargs": {"clean": "whitespace_underscore"}}),
        "layer norm, no positions": ("CLIP's tokenizer", {"norm_type": "layernorm", "qk_norm": True, "mlp_type": "mlp", "pos_embed": "none",
                                                          "pool_type": "argmax"}),
        "mean, own tokenizer": ("its own tokenizer", {"pool_type": "mean", "attention_mode": "bidirectional"}),
        "everything, causal": ("its own tokenizer", EVERYTHING),
        "everything, both ways, query": ("p50k_base", EVERYTHING | {"attention_mode": "bidirectional", "pool_type": "map"}),
        "texts without end": ("o200k_base", {"pool_type": "eos", "tokenizer_kwargs": {"add_eos": False, "clean": "canonicalize"}}),
    }
    for name, (kind, more) in texts.items():
        yield name, {"embed_dim": 32, "vision_cfg": VISION, "text_cfg": BASE | kinds[kind] | more}
    towers = {
        "gated NaFlex": ("base_patch16_map", "map", {"swiglu_mlp": True, "attn_pool_mlp_ratio": 4.0}),
        "gated NaFlex, registers, no bias": ("so150m2_patch16_reg1_map", "map", {"swiglu_mlp": True}),
        "gated NaFlex, mean": ("base_patch16_gap", "avg", {"swiglu_mlp": True, "mlp_ratio": 3.0}),
    }
    for name, (trunk, pool, changes) in towers.items():
        vision = NAFLEX | {"timm_model_name": f"naflexvit_{trunk}", "timm_pool": pool, "timm_model_kwargs": SMALL | changes}
        yield name, {"embed_dim": 40, "vision_cfg": vision, "text_cfg": BASE | kinds["r50k_base"] | {"pool_type": "map", "attention_mode": "bidirectional"}}


def judged(place, config, paths, *given):
    """Runs this file with the main branch: makes the model of a config, or loads a folder, and saves features."""
    environment = dict(os.environ, PYTHONPATH=os.environ["OPEN_CLIP_MAIN"])
    arguments = [place, config, json.dumps([str(path) for path in paths]), *given]
    ran = subprocess.run([sys.executable, __file__, *arguments], env=environment, cwd=place, capture_output=True, text=True)
    if ran.returncode:
        print(ran.stderr[-2000:], flush=True)
    return ran.returncode == 0


def has_tiktoken():
    try:
        import tiktoken
        tiktoken.get_encoding("r50k_base")
        return True
    except Exception as error:
        print(f"tiktoken's encodings are not there, so their texts are left out: {error!r:.100}", flush=True)
        return False


def modern_text(clipway, name, place, paths, real=False, own=None):
    """Each small case, or a config of the main branch by its name: clipway's features of the source and of its export, and those of the main branch that loads the export."""
    import check_coverage
    from coverage_open_clip import compared, embedded, exported
    from safetensors.torch import load_file
    if not os.environ.get("OPEN_CLIP_MAIN"):
        print(f"skipped: {name}, since OPEN_CLIP_MAIN names no checkout of open_clip's main branch", flush=True)
        return []
    problems = []
    texts = TEXTS + ([] if real else DRAWN)
    known = has_tiktoken()
    chosen = dict(cases())
    if real:
        configs = Path(os.environ["OPEN_CLIP_MAIN"]) / "open_clip/model_configs"
        chosen = {own: json.loads((configs / f"{own}.json").read_text())}
    for case, config in chosen.items():
        text = config["text_cfg"]
        if text.get("tokenizer_type") == "tiktoken" and not known:
            continue
        here = place / case.replace(" ", "-").replace(",", "")
        (here / "files").mkdir(parents=True)
        (here / "configs").mkdir()
        if text.get("hf_tokenizer_name"):
            check_coverage.byte_pairs(here / "files", 3)
            text = dict(text, hf_tokenizer_name=str(here / "files"))
        (here / "configs" / "made.json").write_text(json.dumps(dict(config, text_cfg=text)))
        (here / "model.json").write_text(json.dumps(config))
        if not judged(here, "made", paths):
            problems.append(f"{name}, {case}: the main branch does not make it")
            continue
        wanted = load_file(here / "made.safetensors")
        given = ("--model", here / "model.json", "--tokenizer", here / "files")
        source = here / "model.pt"
        problems += compared(f"{name}, {case}", wanted, embedded(clipway, here, source, paths, *given, texts=texts))
        out = exported(clipway, here, source, *given)
        problems += compared(f"{name}, {case}, its export", wanted, embedded(clipway, here, out, paths, texts=texts))
        if not judged(here, "local-dir:" + str(out), paths):
            problems.append(f"{name}, {case}: the main branch does not load the export")
            continue
        problems += compared(f"{name}, {case}, its export in the main branch", wanted, load_file(here / "made.safetensors"))
        # The export has a tokenizer.json made of the encoding; it is read again as it is.
        given = ("--model", here / "model.json", "--tokenizer", out)
        again = {"text_features": wanted["text_features"]}
        problems += compared(f"{name}, {case}, with the export's tokenizer", again, embedded(clipway, here, source, paths, *given, texts=texts))
        if not real:
            # The export compares the graphs, run by another runtime, with the source.
            (here / "graphs").mkdir()
            exported(clipway, here / "graphs", source, *given, "--to", "onnx")
            print(f"{name}, {case}: its graphs agree", flush=True)
            problems += trimmed(clipway, f"{name}, {case}", here, source, paths, wanted, texts, text)
        source.unlink()
        for written in out.glob("*.safetensors"):
            written.unlink()
    return problems


def trimmed(clipway, name, place, source, paths, wanted, texts, config):
    """The text tower with the tokens of the texts alone, by clipway and by the main branch. An encoding of tiktoken is refused."""
    import torch
    from coverage_open_clip import compared, embedded
    from safetensors.torch import load_file
    # A special token's spelling is text to open_clip, and not to a tokenizer.json.
    kept = [number for number, text in enumerate(texts) if "<|" not in text and text.strip()]
    # Only short ones, since longer ones need every token of the smallest tokenizers.
    kept = sorted(sorted(kept, key=lambda number: len(texts[number]))[:8])
    (place / "kept.txt").write_text("".join(f"{texts[number]}\n" for number in kept), encoding="utf8")
    given = ("--model", place / "model.json", "--tokenizer", place / "files", "--vocabulary-from", place / "kept.txt")
    out = place / "trimmed"
    ran = subprocess.run([clipway, "export", source, *given, "--out", out, "--quiet"], capture_output=True, text=True)
    if config.get("tokenizer_type") == "tiktoken":
        refused = ran.returncode == 1 and "known by its name" in ran.stderr and not out.exists()
        return [] if refused else [f"{name}, trimmed: not refused: {ran.stderr[-300:]}"]
    if ran.returncode:
        return [f"{name}, trimmed: {ran.stderr[-300:]}"]
    before, after = (sum(path.stat().st_size for path in folder.glob("*.safetensors")) for folder in (place / "out", out))
    wanted = {"text_features": wanted["text_features"][kept]}
    problems = compared(f"{name}, trimmed to {after / before:.0%}", wanted, embedded(clipway, place, out, paths, texts=[texts[number] for number in kept]))
    if not judged(place, "local-dir:" + str(out), paths):
        return [*problems, f"{name}: the main branch does not load the trimmed folder"]
    found = {"text_features": load_file(place / "made.safetensors")["text_features"][torch.tensor(kept)]}
    return problems + compared(f"{name}, trimmed, in the main branch", wanted, found)


def judge(place, config, paths):
    """In a process with the main branch: features of a model of a config, drawn and saved as `model.pt`, or of a folder."""
    import open_clip
    import torch
    from PIL import Image
    from safetensors.torch import save_file
    place = Path(place)
    if not config.startswith("local-dir:"):
        open_clip.add_model_config(place / "configs")
    torch.manual_seed(5)
    model = open_clip.create_model(config).eval()
    text = model.text
    real = text.width > 64
    if not config.startswith("local-dir:"):
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if not key.startswith("logit_"):
                    parameter.normal_(float(key.endswith(("norm.weight", "norm1.weight", "norm2.weight", "ln_final.weight"))), 0.03 if real else 0.2)
        torch.save({"epoch": 1, "state_dict": model.state_dict()}, place / "model.pt")
    tokenizer = open_clip.get_tokenizer(config)
    if hasattr(tokenizer, "enc"):
        ranks = sorted(tokenizer.enc._mergeable_ranks.items(), key=lambda item: item[1])
        lines = (f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks)
        (place / "files" / f"{tokenizer.encoding_name}.tiktoken").write_text("".join(lines))
    size = model.visual.image_size
    transform = open_clip.image_transform(size, is_train=False)
    with torch.no_grad():
        made = {
            "image_features": model.encode_image(torch.stack([transform(Image.open(path)) for path in json.loads(paths)])),
            "text_features": model.encode_text(tokenizer(TEXTS + ([] if real else DRAWN))),
        }
    save_file(made, place / "made.safetensors")


OWN_KINDS = {f"ModernText, {own}": functools.partial(modern_text, own=own) for own in OWN_CONFIGS}
KINDS = {"ModernText": modern_text} | OWN_KINDS

if __name__ == "__main__":
    judge(*sys.argv[1:])
