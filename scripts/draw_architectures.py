#!/usr/bin/env python3
"""Draws models with odd options and sizes, and writes open_clip's outputs for them.

    python scripts/draw_architectures.py KIND DIR [--seed N] [--count N] [--least M] [--most M]
    cargo xtask goldens architectures DIR

KIND is one of
  trunks    the whole image tower of every registered config with a timm trunk, with one image; only those with
            `--least` to `--most` million parameters
  images    open_clip's own image tower of every registered config, with the same limits
  languages the text tower of every registered config, with the same limits
  relatives trunks of the same families that no config names
  sizes     trunks with images of another size than their name says
  pools     fifteen trunks with every pool and every projection
  kwargs    random arguments of timm's vision transformers
  options   random options of open_clip's own towers, several at a time
  texts     random transformers text models

A config that open_clip or timm refuses is not a golden: it is written to DIR/refused/NAME.json with the reason in
NAME.txt, and clipway must refuse it too (`clipway inspect --model NAME.json --graph` on any weights stops before it
looks at them). Needs torch, transformers 5 and open_clip 3.3.0, and no network; weights are by formula.
"""

import argparse
import gc
import json
import random
import time
from pathlib import Path

import torch

import make_architecture_goldens as goldens
from make_architecture_goldens import TEXT, VISION, changed, timm

REGISTRY = Path(__file__).parent / "../crates/clipway-model/data/models.json"

# Name, image side, pool, projection.
RELATIVES = [
    ("aimv2_large_patch14_224", 224, "avg", None),
    ("beit3_base_patch16_224", 224, "avg", None),
    ("convnext_atto", 64, "avg", "linear"),
    ("convnext_nano_ols", 64, "max", None),
    ("convnext_pico", 64, "avgmax", "mlp"),
    ("convnextv2_femto", 64, "avg", "linear"),
    ("convnextv2_small", 64, "avg", None),
    ("eva02_base_patch14_224", 224, "avg", None),
    ("eva02_small_patch14_336", 336, "avg", None),
    ("fastvit_ma36", 256, "avg", None),
    ("fastvit_s12", 256, "avg", "mlp"),
    ("fastvit_sa12", 256, "avg", None),
    ("fastvit_sa24", 256, "avg", None),
    ("fastvit_sa36", 256, "avg", None),
    ("fastvit_t12", 256, "avg", None),
    ("fastvit_t8", 256, "avg", "linear"),
    ("flexivit_small", 240, "token", None),
    ("swin_base_patch4_window12_384", 384, "avg", None),
    ("swin_large_patch4_window7_224", 224, "avg", "linear"),
    ("swin_s3_base_224", 224, "avg", "linear"),
    ("swin_s3_small_224", 224, "avg", "linear"),
    ("swin_s3_tiny_224", 224, "avg", "linear"),
    ("swin_small_patch4_window7_224", 224, "avg", "linear"),
    ("swin_tiny_patch4_window7_224", 224, "catavgmax", None),
    ("vit_base_patch16_radio_v3", 512, "token", None),
    ("vit_base_patch16_rope_224", 224, "token", None),
    ("vit_base_patch16_rope_reg1_gap_256", 256, "avg", None),
    ("vit_base_patch16_rpn_224", 224, "avg", None),
    ("vit_betwixt_patch16_reg1_gap_256", 256, "avg", None),
    ("vit_intern300m_patch14_448", 140, "avg", None),
    ("vit_little_patch16_reg4_gap_256", 256, "avg", None),
    ("vit_medium_patch16_gap_384", 384, "avg", None),
    ("vit_mediumd_patch16_reg4_gap_256", 256, "avg", "none"),
    ("vit_mediumd_patch16_rope_reg1_gap_256", 256, "avg", None),
    ("vit_pe_spatial_tiny_patch16_512", 512, "avg", None),
    ("vit_relpos_base_patch16_clsgap_224", 224, "avg", None),
    ("vit_relpos_base_patch32_plus_rpn_256", 256, "avg", None),
    ("vit_relpos_small_patch16_rpn_224", 224, "avg", None),
    ("vit_small_patch14_reg4_dinov2", 518, "token", "linear"),
    ("vit_small_patch16_18x2_224", 224, "token", None),
    ("vit_small_patch16_224", 224, "token", None),
    ("vit_small_patch16_36x1_224", 224, "token", None),
    ("vit_small_patch16_dinov3", 256, "avg", None),
    ("vit_small_patch16_rope_ape_224", 224, "token", None),
    ("vit_small_plus_patch16_dinov3_qkvb", 256, "token", None),
    ("vit_so150m2_patch16_reg1_gap_256", 256, "avg", None),
    ("vit_so150m_patch16_reg4_map_256", 256, "map", None),
    ("vit_srelpos_small_patch16_224", 224, "avg", None),
    ("vit_tiny_patch16_384", 384, "token", None),
    ("vit_wee_patch16_reg1_gap_256", 256, "avg", "linear"),
    ("vit_xsmall_patch16_clip_224", 224, "token", None),
]

# Name, image size, pool.
SIZES = [
    ("convnext_tiny", [200, 330], "avg"),
    ("eva02_base_patch16_clip_224", 336, "token"),
    ("eva02_small_patch14_336", [224, 350], "avg"),
    ("fastvit_mci0", [192, 320], "avg"),
    ("swin_s3_tiny_224", [448, 256], "avg"),
    ("swin_small_patch4_window7_224", [96, 320], "avg"),
    ("swin_tiny_patch4_window7_224", 256, "avg"),
    ("vit_base_mci_224", 256, "token"),
    ("vit_base_patch16_siglip_224", [256, 192], "map"),
    ("vit_base_patch32_siglip_256", 500, "map"),
    ("vit_medium_patch16_gap_256", [320, 250], "avg"),
    ("vit_pe_core_small_patch16_384", 224, "map"),
    ("vit_pe_core_tiny_patch16_384", [400, 144], "map"),
    ("vit_relpos_medium_patch16_cls_224", [256, 176], "token"),
    ("vit_small_patch14_reg4_dinov2", 224, "token"),
    ("vit_small_patch16_dinov3", [128, 320], "avg"),
    ("vit_small_patch16_rope_ape_224", 288, "token"),
    ("vit_srelpos_small_patch16_224", 160, "avg"),
    ("vitamin_base_224", [192, 330], "avg"),
    ("vitamin_small_224", 320, "avg"),
]

# Name, image side, channels of the map or width of the tokens.
POOLED = [
    ("convnext_large_mlp", 32, 1536),
    ("convnext_tiny_hnf", 32, 768),
    ("eva02_tiny_patch14_224", 224, 192),
    ("fastvit_t8", 64, 768),
    ("swin_tiny_patch4_window7_224", 224, 768),
    ("test_convnext", 64, 64),
    ("test_vit", 160, 64),
    ("test_vit2", 160, 64),
    ("test_vit3", 160, 96),
    ("test_vit4", 160, 96),
    ("test_vit_relpos", 160, 96),
    ("vit_pe_core_tiny_patch16_384", 384, 192),
    ("vit_relpos_medium_patch16_cls_224", 224, 512),
    ("vit_tiny_patch16_dinov3_qkvb", 64, 192),
    ("vitamin_small_224", 224, 384),
]
POOLS = [
    *["", "avg", "max", "avgmax", "catavgmax", "fast", "fastavg", "fastmax", "fastavgmax", "fastcatavgmax"],
    *["token", "map", "prr", "AVG", "CatAvgMax", "avgmaxc", "abs_attn", "rot_attn", "foomax", "fastfooavg"],
]
PROJECTIONS = [None, "none", "linear", "mlp"]

# Vision transformers that take arguments; the stem of some is built for the width in the name.
CHANGED = [
    *["aimv2_large_patch14_224", "beit3_base_patch16_224", "flexivit_small", "test_vit", "test_vit2", "test_vit3"],
    *["test_vit4", "vit_base_mci_224", "vit_base_patch16_clip_quickgelu_224", "vit_base_patch16_radio_v3"],
    *["vit_base_patch16_rpn_224", "vit_base_patch32_siglip_256", "vit_giant_patch14_224", "vit_giant_patch14_dinov2"],
    *["vit_giant_patch14_reg4_dinov2", "vit_intern300m_patch14_448", "vit_small_patch16_18x2_224"],
    *["vit_so150m2_patch16_reg1_gap_256", "vit_so150m_patch16_reg4_map_256", "vit_so400m_patch14_siglip_224"],
    *["vit_wee_patch16_reg1_gap_256", "vitamin_small_224"],
]
STEMS = ("vitamin", "vit_base_mci")


def with_trunk(vision, embed_dim):
    return {"embed_dim": embed_dim, "vision_cfg": vision, "text_cfg": dict(TEXT), "custom_text": True}


def size_of(name):
    """Returns parameter count and width of a trunk without creating it."""
    with torch.device("meta"):
        trunk = goldens.timm_create_model(name)
    return sum(p.numel() for p in trunk.parameters()), trunk.num_features


def registered():
    """Returns the registered configs; CoCa's towers run only with its decoder."""
    configs = json.loads(REGISTRY.read_text())
    return {name: config for name, config in configs.items() if "multimodal_cfg" not in config}


def millions(tower, vocabulary=0):
    """Returns the approximate parameter count of a plain transformer; a ResNet is small."""
    layers, width = tower.get("layers", 12), tower.get("width", 768)
    if isinstance(layers, list):
        return 100
    return (layers * width**2 * (4 + 2 * tower.get("mlp_ratio", 4)) + vocabulary * width) / 1e6


def distinct(towers):
    """Returns each distinct tower once, under the name of the first config that has it."""
    found = {}
    for name, config in towers:
        found.setdefault(json.dumps(config, sort_keys=True), (name, config))
    return found.values()


def whole(config, part):
    """Returns a config with all of its keys except the other tower."""
    kept = {key: config[key] for key in ("embed_dim", "quick_gelu", "custom_text") if key in config}
    small = {"vision_cfg": dict(VISION), "text_cfg": dict(TEXT)}
    return {**kept, **small, part: dict(config[part])}


def images(options):
    own = {name: config for name, config in registered().items() if "timm_model_name" not in config["vision_cfg"]}
    for name, config in distinct((name, whole(config, "vision_cfg")) for name, config in own.items()):
        size = millions(config["vision_cfg"])
        if options.least <= size < options.most:
            yield name, config, 1, size < 150


def languages(options):
    towers = []
    for name, model in registered().items():
        config = whole(model, "text_cfg")
        text = {key: value for key, value in config["text_cfg"].items() if "tokenizer" not in key}
        size = 0
        if "hf_model_name" in text:
            described = goldens.known_text_model(text["hf_model_name"])
            goldens.TEXT_MODELS[text["hf_model_name"]] = described
            text.setdefault("vocab_size", described["vocab_size"])
            width, layers = (described.get(key, described.get(other)) for key, other in (
                ("hidden_size", "d_model"), ("num_hidden_layers", "num_layers")
            ))
            size = millions({"width": width, "layers": layers or described.get("encoder_layers", 12)}, 250_000)
        config["text_cfg"] = {"context_length": 77, "vocab_size": 49408, **text}
        size = size or millions({"width": 512, **text}, config["text_cfg"]["vocab_size"])
        if options.least <= size < options.most:
            towers.append((name, config))
    for name, config in distinct(towers):
        # T5 does not scale its scores, so PyTorch's own f32 is far from the truth, and only a stored truth shows that.
        yield f"text_{name}", config, 1, name.startswith("mt5")


def trunks(options):
    found = {}
    for model in registered().values():
        vision = model["vision_cfg"]
        if "timm_model_name" in vision:
            pool, projection = vision.get("timm_pool", "avg"), vision.get("timm_proj", "linear")
            name = f"{vision['timm_model_name']}_{vision.get('image_size', 224)}_{pool}_{projection}"
            found[name] = {key: value for key, value in vision.items() if key != "timm_model_pretrained"}
    sized = [(*size_of(vision["timm_model_name"]), name, vision) for name, vision in found.items()]
    for parameters, width, name, vision in sorted(sized, key=lambda case: case[:3]):
        if options.least <= parameters / 1e6 < options.most:
            embed_dim = width if vision.get("timm_proj", "linear") == "none" else 64
            # Beyond this, weights and sums in double precision take long.
            yield name, with_trunk(vision, embed_dim), 1, parameters < 150e6


def relatives(_):
    for name, side, pool, projection in RELATIVES:
        embed_dim = size_of(name)[1] if projection == "none" else 64
        yield f"{name}_{side}_{pool}_{projection}", with_trunk(timm(name, pool, projection, side), embed_dim), 1, True


def sizes(_):
    for name, size, pool in SIZES:
        yield f"{name}_{size}".replace(" ", ""), with_trunk(timm(name, pool, "linear", size), 64), 1, True


def pools(_):
    for name, side, width in POOLED:
        for pool in POOLS:
            for projection in PROJECTIONS:
                values = 2 if pool.lower().endswith("catavgmax") else 1
                embed_dim = width * values if projection == "none" else 24
                config = with_trunk(timm(name, pool, projection, side), embed_dim)
                yield f"{name}+{pool or 'no'}+{projection}", config, 1, True


def kwargs(options):
    draw = random.Random(options.seed)
    for index in range(options.count):
        name, size = draw.choice(CHANGED), draw.choice([32, 48, 64, [32, 64], 100])
        changes = {"depth": draw.choice([1, 2]), "img_size": size}
        has_stem = name.startswith(STEMS)
        if draw.random() < (0.15 if has_stem else 0.8):
            changes["embed_dim"] = draw.choice([40, 48, 96, 120])
            changes["num_heads"] = draw.choice([2, 3, 4])
        elif not has_stem and not name.startswith(("test_vit", "flexivit_small")):
            # At its own width it would be large.
            changes |= {"embed_dim": 64, "num_heads": 4, "mlp_ratio": 3.0}
        if draw.random() < (0.15 if has_stem else 0.5):
            changes["patch_size"] = draw.choice([4, 8, 16])
        if draw.random() < 0.6:
            changes["mlp_ratio"] = draw.choice([1.5, 2.0, 2.667, 3.0, 3.7362])
        if draw.random() < 0.5:
            changes["act_layer"] = draw.choice(["gelu", "gelu_tanh"])
        if draw.random() < 0.5:
            changes["norm_eps"] = draw.choice([0.5, 0.01, 1e-5])
        pool, projection = draw.choice(["token", "avg", "max", "avgmax", "map", "prr", None]), draw.choice(PROJECTIONS)
        embed_dim = changes.get("embed_dim") or size_of(name)[1] if projection == "none" else 24
        vision = changed(timm(name, pool, projection, size), **changes)
        yield f"kwargs_{options.seed}_{index:03}+{name}", with_trunk(vision, embed_dim), 1, True


def some(draw, choices, share):
    """Returns some of the options, each with one of its values."""
    return {key: draw.choice(values) for key, values in choices.items() if draw.random() < share}


BLOCKS = {
    "act_kwargs": [{"approximate": "tanh"}],
    "block_type": ["default", "custom"],
    "ls_init_value": [0.1],
    "mlp_ratio": [2.7, 3.0],
    "norm_kwargs": [{"eps": 1e-2}, {"eps": 1e-6, "bias": False}],
    "qk_norm": [True],
    "scale_attn": [True],
    "scale_attn_inner": [True],
    "scale_fc": [True],
    "scale_heads": [True],
    "scaled_cosine_attn": [True],
}
IMAGES = BLOCKS | {
    "attentional_pool": [True, "parallel", "cascade"],
    "attn_pooler_heads": [2, 4],
    "final_ln_after_pool": [True],
    "head_width": [8, 32],
    "image_size": [24, [16, 40], 36],
    "no_ln_pre": [True],
    "patch_dropout": [0.5],
    "patch_size": [4, [8, 4]],
    "pool_type": ["tok", "avg"],
    "pos_embed_type": ["sin_cos_2d"],
}
TEXTS = BLOCKS | {
    "embed_cls": [True],
    "eos_id": [7],
    "final_ln_after_pool": [True],
    "heads": [1, 4],
    "no_causal_mask": [True],
    "pad_id": [1, 3],
    "pool_type": ["first", "last", "argmax", "eos"],
    "proj_bias": [True],
    "proj_type": ["none", "linear"],
}
MODELS = {
    "custom_text": [True],
    "embed_dim": [32],
    "init_logit_bias": [-10],
    "nonscalar_logit_scale": [True],
    "quick_gelu": [True],
}


def options(options):
    draw = random.Random(options.seed)
    for index in range(options.count):
        share = draw.choice([0.1, 0.2, 0.35])
        vision = {**VISION, **some(draw, IMAGES, share)}
        if "attentional_pool" in vision:
            vision["attn_pooler_queries"] = draw.choice([1, 5])
        text = {**TEXT, **some(draw, TEXTS, share)}
        config = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text, **some(draw, MODELS, share)}
        yield f"options_{options.seed}_{index:03}", config, 2, True


def texts(options):
    draw = random.Random(options.seed)
    for index in range(options.count):
        kind = draw.choice(["bert", "roberta", "xlm-roberta", "mt5", "m2m100"])
        model = dict(goldens.TEXT_MODELS[kind])
        heads = draw.choice([1, 2, 4])
        if kind == "mt5":
            model |= {"d_model": draw.choice([24, 40]), "num_heads": heads}
            model |= some(draw, {
                "d_kv": [8, 12],
                "feed_forward_proj": ["gated-gelu", "gated-silu", "relu", "gated-relu", "gelu_new"],
                "layer_norm_epsilon": [1e-2],
                "num_layers": [1, 2],
                "pad_token_id": [2],
                "relative_attention_max_distance": [4, 128],
                "relative_attention_num_buckets": [4, 32],
            }, 0.5)
        elif kind == "m2m100":
            model |= {"d_model": draw.choice([24, 40]), "encoder_attention_heads": heads}
            model |= some(draw, {
                "activation_function": ["gelu", "gelu_new", "relu", "silu", "swish"],
                "encoder_ffn_dim": [30],
                "encoder_layers": [1, 3],
                "pad_token_id": [2],
                "scale_embedding": [False],
            }, 0.5)
        else:
            model |= {"hidden_size": draw.choice([24, 40]), "num_attention_heads": heads}
            model |= some(draw, {
                "hidden_act": ["gelu", "gelu_new", "relu", "silu", "gelu_pytorch_tanh", "quick_gelu"],
                "intermediate_size": [30],
                "layer_norm_eps": [1e-2],
                "max_position_embeddings": [18, 40],
                "num_hidden_layers": [1, 3],
                "pad_token_id": [2],
                "type_vocab_size": [1, 3],
            }, 0.5)
        pooler = draw.choice(["mean_pooler", "max_pooler", "cls_pooler", "cls_last_hidden_state_pooler", None])
        projection = draw.choice(["linear", "mlp", "mlp", None])
        width = model.get("d_model") or model.get("hidden_size")
        embed_dim = draw.choice([width, 24]) if projection is None else 24
        name = f"texts_{options.seed}_{index:03}"
        goldens.TEXT_MODELS[name] = model
        text = {**TEXT, "hf_model_name": name, "hf_pooler_type": pooler, "hf_proj_type": projection}
        yield name, {"embed_dim": embed_dim, "vision_cfg": dict(VISION), "text_cfg": text}, 1, True


KINDS = {kind.__name__: kind for kind in (trunks, images, languages, relatives, sizes, pools, kwargs, options, texts)}


def leave_uninitialized():
    """Skips random initialization, since the weights are replaced by formula."""
    for name in vars(torch.nn.init):
        if name.endswith("_") and not name.startswith("_"):
            setattr(torch.nn.init, name, lambda tensor=None, *_, **__: tensor)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--least", type=float, default=0)
    parser.add_argument("--most", type=float, default=1000)
    settings = parser.parse_args()
    refused = settings.folder / "refused"
    refused.mkdir(parents=True, exist_ok=True)
    goldens.mend_open_clip()
    leave_uninitialized()
    taken = 0
    for name, config, images, with_truth in KINDS[settings.kind](settings):
        if (settings.folder / f"{name}.safetensors").exists():
            continue
        started = time.monotonic()
        try:
            goldens.write_golden(settings.folder, name, config, images, with_truth)
            taken += 1
            print(f"{name}  {time.monotonic() - started:.1f} s", flush=True)
        except Exception as error:  # whatever open_clip or timm raise
            (refused / f"{name}.json").write_text(json.dumps(config))
            (refused / f"{name}.txt").write_text(repr(error))
            print(f"{name}  refused: {repr(error)[:120]}", flush=True)
        gc.collect()
    print(f"{taken} goldens, {len(list(refused.glob('*.json')))} configs refused")


if __name__ == "__main__":
    main()
