#!/usr/bin/env python3
"""Writes goldens of small models that cover open_clip's options one by one.

    python scripts/make_architecture_goldens.py crates/clipway-testing/data/architectures

Needs torch, transformers 5 and open_clip 3.3.0 (of its main branch, the cases that only that has), and no network. Weights and images are a formula of their names (see
crates/clipway-testing/src/formula.rs), so a golden holds only token ids and outputs: in f32, and in f64 as `..._f64`.
Goldens of full-size models have the same form.
"""

import copy
import functools
import json
import math
import struct
import sys
from pathlib import Path

import numpy as np
import open_clip
import timm as timm_module
import torch
import transformers
from open_clip.coca_model import CoCa
from open_clip.hf_configs import arch_dict
from open_clip.hf_model import MaxPooler
from open_clip.model import CLIP, CustomTextCLIP

timm_create_model = timm_module.create_model

VISION = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
TEXT = {"context_length": 12, "vocab_size": 96, "width": 32, "heads": 2, "layers": 2}
RESNET = {"image_size": 64, "layers": [1, 2, 1, 1], "width": 8, "head_width": 32}
FASTVIT = {"image_size": 64, "timm_pool": "avg", "timm_proj": None}
NORMFORMER = {"scale_heads": True, "scale_attn_inner": True, "scale_attn": True, "scale_fc": True}

CUSTOM = {"custom_text": True}


def timm(name, pool, proj, image_size=160):
    """Returns the vision config of a timm trunk."""
    return {"timm_model_name": name, "image_size": image_size, "timm_pool": pool, "timm_proj": proj}


def changed(vision, **kwargs):
    """Adds timm arguments that open_clip's config cannot express."""
    return {**vision, "timm_model_kwargs": kwargs}


def naflex(name, pool, proj, image_size, grid, **kwargs):
    """Returns the vision config of a small NaFlex tower, whose positions were made for `grid`."""
    small = {"patch_size": 8, "embed_dim": 36, "depth": 2, "num_heads": 3, "mlp_ratio": 2.5, "pos_embed_grid_size": grid}
    return changed(timm(f"naflexvit_{name}", pool, proj, image_size), **{**small, **kwargs})


# Name: changes to the vision config, the text config and the model config.
CASES = {
    "plain": ({}, {}, {}),
    "quick_gelu": ({}, {}, {"quick_gelu": True}),
    "gelu_tanh": (
        {"act_kwargs": {"approximate": "tanh"}},
        {"act_kwargs": {"approximate": "tanh"}},
        {},
    ),
    "odd_widths": (
        {"width": 36, "head_width": 12, "mlp_ratio": 2.7},
        {"width": 28, "heads": 4, "mlp_ratio": 4.9231},
        {"embed_dim": 19},
    ),
    "one_layer": ({"layers": 1}, {"layers": 1, "heads": 1}, {}),
    "no_ln_pre": ({"no_ln_pre": True}, {}, {}),
    "pool_avg": ({"pool_type": "avg"}, {}, {}),
    "pool_avg_then_norm": ({"pool_type": "avg", "final_ln_after_pool": True}, {}, {}),
    "pool_tok_then_norm": ({"final_ln_after_pool": True}, {"final_ln_after_pool": True}, {}),
    "layer_scale": ({"ls_init_value": 1e-4}, {"ls_init_value": 0.1}, {}),
    "rectangular": ({"image_size": [24, 40], "patch_size": [8, 4]}, {}, {}),
    "patch_leaves_rest": ({"image_size": [30, 35], "patch_dropout": 0.5}, {}, {}),
    "sin_cos_2d": ({"pos_embed_type": "sin_cos_2d"}, {}, {}),
    "norm_eps": ({"norm_kwargs": {"eps": 1e-2}}, {"norm_kwargs": {"eps": 1e-3}}, {}),
    "norm_no_bias": ({"norm_kwargs": {"bias": False}}, {"norm_kwargs": {"bias": False, "eps": 1e-6}}, {}),
    "attentional_pool": (
        {"attentional_pool": True, "attn_pooler_queries": 7, "norm_kwargs": {"eps": 1e-2}},
        {},
        {},
    ),
    "attentional_pool_same_width": (
        {"attentional_pool": True, "attn_pooler_queries": 5, "attn_pooler_heads": 4, "pool_type": "avg"},
        {},
        {"embed_dim": 32},
    ),
    "attentional_pool_parallel": (
        {"attentional_pool": "parallel", "attn_pooler_queries": 5},
        {},
        {"embed_dim": 32},
    ),
    "attentional_pool_cascade": (
        {"attentional_pool": "cascade", "attn_pooler_queries": 5},
        {},
        {"embed_dim": 32},
    ),
    "qk_norm": ({"qk_norm": True}, {"qk_norm": True}, {}),
    "scaled_cosine": ({"scaled_cosine_attn": True}, {"scaled_cosine_attn": True}, {}),
    "scale_heads": ({"scale_heads": True}, {"scale_heads": True}, {}),
    "scale_attn_inner": ({"scale_attn_inner": True}, {"scale_attn_inner": True}, {}),
    "scale_attn": ({"scale_attn": True}, {"scale_attn": True}, {}),
    "scale_fc": ({"scale_fc": True}, {"scale_fc": True}, {"quick_gelu": True}),
    "normformer": (
        {**NORMFORMER, "qk_norm": True, "ls_init_value": 0.1, "width": 48, "head_width": 12},
        {**NORMFORMER, "scaled_cosine_attn": True, "ls_init_value": 0.1, "no_causal_mask": True},
        {},
    ),
    "block_custom": ({"block_type": "custom"}, {"block_type": "custom"}, {}),
    "block_default": (
        {"block_type": "default", "qk_norm": True, "scaled_cosine_attn": True},
        {"block_type": "default", "scale_fc": True},
        {},
    ),
    "text_bidirectional_first": ({}, {"no_causal_mask": True, "pool_type": "first"}, {}),
    "text_last_proj_bias": ({}, {"pool_type": "last", "proj_bias": True}, {"custom_text": True}),
    "text_proj_bias_in_root": ({}, {"proj_bias": True}, {}),
    "text_eos": ({}, {"pool_type": "eos", "eos_id": 7}, {}),
    "text_no_projection": ({}, {"width": 24, "proj_type": "none"}, {}),
    "text_class_token": ({}, {"embed_cls": True}, {"custom_text": True}),
    "text_class_token_bidirectional": (
        {},
        {"embed_cls": True, "no_causal_mask": True, "pad_id": 3, "pool_type": "first"},
        {"custom_text": True},
    ),
    "text_class_token_custom_block": ({}, {"embed_cls": True, "qk_norm": True}, {"custom_text": True}),
    "custom_text_bias": (
        {},
        {"context_length": 5},
        {"custom_text": True, "init_logit_bias": -10, "nonscalar_logit_scale": True},
    ),
    "bias_in_root": ({}, {}, {"init_logit_bias": -10, "init_logit_scale": 2.0}),
    "siglip_like": (
        {"no_ln_pre": True, "pool_type": "avg", "norm_kwargs": {"eps": 1e-6}},
        {
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
            "norm_kwargs": {"eps": 1e-6},
            "act_kwargs": {"approximate": "tanh"},
        },
        {"custom_text": True, "init_logit_bias": -10},
    ),
    "timm_vit_token": (timm("test_vit", "token", None), {}, CUSTOM),
    "timm_vit_resampled": (timm("test_vit", "token", None, [96, 208]), {}, CUSTOM),
    "timm_vit_resampled_register": (timm("test_vit4", "", "linear", 64), {}, CUSTOM),
    "timm_vit_changed_size": (timm("test_vit3", "map", None, [96, 185]), {}, CUSTOM),
    "timm_relative_changed_size": (timm("test_vit_relpos", "avg", None, [96, 128]), {}, CUSTOM),
    "timm_swin_changed_size": (timm("swin_tiny_patch4_window7_224", "avg", "linear", [128, 97]), {}, CUSTOM),
    "timm_eva02_changed_size": (timm("eva02_tiny_patch14_224", "token", "linear", [112, 154]), {}, CUSTOM),
    "timm_vitamin_changed_size": (timm("vitamin_small_224", "", "linear", [160, 250]), {}, CUSTOM),
    "timm_vit_max": (timm("test_vit", "max", None), {}, CUSTOM),
    "timm_vit_mean_and_max": (timm("test_vit", "avgmax", "linear"), {}, CUSTOM),
    "timm_vit_map_of_patches": (timm("test_vit", "map", None), {}, CUSTOM),
    "timm_vit_refined": (timm("test_vit", "prr", "none"), {}, {"embed_dim": 64}),
    "timm_vit_register_mlp": ({**timm("test_vit2", "", "mlp"), "timm_proj_bias": True}, {}, CUSTOM),
    "timm_vit_map_of_all": (timm("test_vit3", "map", "none"), {}, {"embed_dim": 96}),
    "timm_vit_rms": (timm("test_vit4", "", "linear"), {}, CUSTOM),
    "timm_vit_relative": (timm("test_vit_relpos", "avg", None), {}, CUSTOM),
    "timm_eva02": (timm("eva02_tiny_patch14_224", "token", "linear", 224), {}, CUSTOM),
    "timm_rotary_of_any_size": (timm("vit_tiny_patch16_dinov3_qkvb", "avg", None, [64, 96]), {}, CUSTOM),
    "timm_convnext": (timm("test_convnext", "", "linear", 64), {}, {}),
    "timm_convnext_classifier": (timm("test_convnext", "avgmax", None, [72, 40]), {}, {}),
    "timm_convnext_kernels": ({**timm("test_convnext3", "max", "mlp", 64), "timm_proj_bias": True}, {}, {}),
    "timm_convnext_norm_first": (timm("convnext_tiny_hnf", "fastavg", "linear", 64), {}, {}),
    "timm_convnext_overlap": (timm("convnext_atto_ols", "", "linear", 50), {}, {}),
    "timm_convnext_features": (timm("test_convnext2", "avg", "none", 64), {}, {"embed_dim": 128}),
    "timm_convnext_table_pool": (timm("test_convnext2", "abs_attn", None, 160), {}, {}),
    "timm_convnext_resampled_pool": (timm("test_convnext2", "abs_attn", "mlp", [96, 224]), {}, {}),
    "timm_convnext_turned_pool": (timm("test_convnext2", "rot_attn", "linear", [96, 128]), {}, {}),
    "timm_convnext_mean_beside_max": (timm("convnext_tiny_hnf", "catavgmax", "none", 64), {}, {"embed_dim": 1536}),
    "timm_convnext_response_norm": (timm("convnextv2_atto", "avg", "linear", 64), {}, {}),
    "timm_convnext_response_norm_linear": (timm("convnextv2_tiny", "", "mlp", [64, 96]), {}, {}),
    "timm_naflex_gap": (naflex("base_patch16_gap", "avg", "linear", [24, 56], [4, 4]), {}, CUSTOM),
    "timm_naflex_siglip_larger": (naflex("base_patch16_siglip", "map", "none", 72, [5, 4]), {}, {"embed_dim": 36}),
    "timm_naflex_siglip_smaller": (naflex("so400m_patch16_siglip", "map", "none", [24, 40], [7, 8]), {}, {"embed_dim": 36}),
    "timm_naflex_siglip_own_grid": (naflex("base_patch16_siglip", "map", None, 32, [4, 4], act_layer="gelu"), {}, CUSTOM),
    "timm_naflex_class_token": (
        naflex("base_patch16_gap", "token", "linear", 32, [3, 3], class_token=True, reg_tokens=2),
        {},
        CUSTOM,
    ),
    "timm_naflex_map": (
        naflex("base_patch16_map", "map", "linear", 40, [4, 4], class_token=True, attn_pool_mlp_ratio=3.0),
        {},
        CUSTOM,
    ),
    "timm_naflex_gated": (
        naflex("base_patch16_map", "map", "linear", 40, [4, 4], swiglu_mlp=True, mlp_ratio=2.7, attn_pool_mlp_ratio=4.0),
        {},
        CUSTOM,
    ),
    "timm_naflex_gated_without_bias": (
        naflex("so150m2_patch16_reg1_gap", "avg", "none", 32, [4, 4], swiglu_mlp=True),
        {},
        {"embed_dim": 36},
    ),
    "timm_naflex_gated_map": (naflex("so150m2_patch16_reg1_map", "map", None, 32, [4, 4], swiglu_mlp=True), {}, CUSTOM),
    "timm_naflex_max": (naflex("so150m2_patch16_reg1_map", "max", None, 40, [4, 4]), {}, CUSTOM),
    "timm_naflex_mean_of_map": (naflex("base_patch16_map", "avg", None, 40, [4, 4], reg_tokens=0), {}, CUSTOM),
    "timm_naflex_mean_and_max": (naflex("so150m2_patch16_reg1_gap", "avgmax", "mlp", 40, [4, 4]), {}, CUSTOM),
    "timm_naflex_par": (naflex("base_patch16_par_gap", "avg", "linear", [24, 56], [4, 5]), {}, CUSTOM),
    "timm_naflex_parfac": (naflex("base_patch16_parfac_gap", "avg", "linear", [56, 24], [4, 5]), {}, CUSTOM),
    "timm_naflex_parfac_own_grid": (naflex("base_patch16_parfac_gap", "avg", None, 32, [4, 4]), {}, CUSTOM),
    "timm_naflex_factorized": (
        naflex("base_patch16_siglip", "map", "none", [24, 56], [4, 5], pos_embed="factorized"),
        {},
        {"embed_dim": 36},
    ),
    "timm_naflex_no_positions": (naflex("base_patch16_map", "map", "linear", 40, [4, 4], pos_embed="none"), {}, CUSTOM),
    "timm_naflex_patches": (naflex("base_patch16_gap", None, "linear", 36, [4, 4], patch_size=12), {}, CUSTOM),
    "timm_vit_own_pool": (timm("test_vit", None, None), {}, CUSTOM),
    "timm_vit_rms_epsilon": (
        changed(timm("test_vit4", "avg", None, 64), img_size=64, depth=2, norm_eps=0.1),
        {},
        CUSTOM,
    ),
    "timm_vit_packed_ratio": (
        changed(
            timm("vit_giant_patch14_dinov2", "token", None, 28),
            img_size=28, embed_dim=48, depth=1, num_heads=3, mlp_ratio=3.0,
        ),
        {},
        CUSTOM,
    ),
    "timm_vit_patch_norm_epsilon": (
        changed(
            timm("aimv2_large_patch14_224", "avg", "none", 28),
            img_size=28, embed_dim=48, depth=1, num_heads=3, norm_eps=0.1,
        ),
        {},
        {"embed_dim": 48},
    ),
    "timm_vitamin_odd": (timm("vitamin_small_224", "", "linear", [219, 210]), {}, {}),
    "fastvit": ({**FASTVIT, "timm_model_name": "fastvit_t8"}, {}, {}),
    "fastvit_mean_beside_max": (
        {**FASTVIT, "timm_model_name": "fastvit_t8", "timm_pool": "fastcatavgmax"},
        {},
        {},
    ),
    "fastvit_squeeze_excite": ({**FASTVIT, "timm_model_name": "fastvit_mci0", "image_size": 128}, {}, {}),
    "fastvit_attention": (
        {**FASTVIT, "timm_model_name": "fastvit_sa12", "timm_proj": "mlp", "image_size": [64, 96]},
        {},
        {"custom_text": True},
    ),
    "resnet": (RESNET, {}, {}),
    "resnet_odd": ({**RESNET, "image_size": 100, "layers": [2, 1, 1, 2], "width": 6, "head_width": 24}, {}, {"embed_dim": 20}),
}


# Towers that open_clip has since 3.3.0: these goldens are written if the script runs with its main branch
# (`PYTHONPATH=CHECKOUT/src`), and only these.
MODERN = {"text_arch": "modern", "pad_id": 5, "bos_id": 6, "eos_id": 7}
EVERYTHING = {
    "value_residual": True, "attn_gated": True, "qk_norm": True, "pre_norm": True, "norm_placement": "sandwich", "ls_init_value": 0.5,
    "reg_tokens": 3, "attention_bias": True, "mlp_bias": True, "proj_bias": True,
}
OF_MAIN = {
    "moderntext": ({}, {**MODERN, "mlp_ratio": 2.6666667, "attn_gated": True}, {}),
    "moderntext_map": (
        {}, {**MODERN, "attention_mode": "bidirectional", "pool_type": "map", "qk_norm": True, "norm_eps": 1e-5, "attn_gated": True}, {},
    ),
    "moderntext_mean": (
        {}, {**MODERN, "pool_type": "mean", "mlp_type": "relu2", "attention_mode": "bidirectional", "reg_tokens": 2, "layers": 3}, {},
    ),
    "moderntext_layernorm": (
        {},
        {**MODERN, "norm_type": "layernorm", "norm_eps": 1e-2, "qk_norm": True, "mlp_type": "mlp", "pos_embed": "none", "mlp_bias": True,
         "pool_type": "argmax", "width": 36, "heads": 6},
        {},
    ),
    "moderntext_everything": (
        {}, {**MODERN, **EVERYTHING, "attention_mode": "bidirectional", "pool_type": "map", "rope_temperature": 50.0, "layers": 3}, {},
    ),
    "moderntext_everything_causal": (
        {}, {**MODERN, **EVERYTHING, "pool_type": "eos", "gate_bias": False, "layers": 3}, {},
    ),
    "moderntext_causal_map": ({}, {**MODERN, "pool_type": "map", "proj_type": "none", "value_residual": True}, {"embed_dim": 32}),
    "moderntext_bidirectional_eos": ({}, {**MODERN, "attention_mode": "bidirectional", "reg_tokens": 1, "gate_bias": True, "attn_gated": True}, {}),
}
IS_MAIN = hasattr(open_clip, "ModernTextTransformer")

# Images of a case, if not two. In a deep trunk with layer scales near 1, the arguments of a squeeze-excite's gates are
# sums of thousands, and PyTorch's own error, which bounds ours, varies tenfold from image to image.
IMAGES = {"fastvit_mean_beside_max": 6, "fastvit_squeeze_excite": 6}

# Small transformers text models, by the names that the configs below use.
BERT = {
    "model_type": "bert",
    "vocab_size": 96,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 50,
    "max_position_embeddings": 20,
}
ROBERTA = {**BERT, "hidden_size": 36, "num_attention_heads": 3, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
MT5 = {
    "model_type": "mt5",
    "vocab_size": 96,
    "d_model": 28,
    "d_kv": 10,
    "d_ff": 40,
    "num_layers": 3,
    "num_heads": 3,
    "relative_attention_num_buckets": 9,
    "relative_attention_max_distance": 6,
}
M2M100 = {
    "model_type": "m2m_100",
    "vocab_size": 96,
    "d_model": 40,
    "encoder_layers": 2,
    "encoder_attention_heads": 5,
    "encoder_ffn_dim": 60,
    "decoder_layers": 1,
    "decoder_attention_heads": 5,
}
MODERN_BERT = {
    "model_type": "modernbert",
    "vocab_size": 96,
    "hidden_size": 36,
    "num_hidden_layers": 5,
    "num_attention_heads": 3,
    "intermediate_size": 50,
    "pad_token_id": 4,
    "local_attention": 6,
}
TEXT_MODELS = {
    "bert": BERT,
    "roberta": {**ROBERTA, "model_type": "roberta"},
    "xlm-roberta": {**ROBERTA, "model_type": "xlm-roberta", "pad_token_id": 3, "type_vocab_size": 2},
    "mt5": MT5,
    "m2m100": M2M100,
    "bert_gelu_new": {**BERT, "hidden_act": "gelu_new", "pad_token_id": 2, "layer_norm_eps": 1e-2},
    "roberta_relu": {**ROBERTA, "model_type": "roberta", "hidden_act": "relu", "num_hidden_layers": 1},
    "mt5_relu": {**MT5, "feed_forward_proj": "relu", "relative_attention_num_buckets": 4},
    "mt5_gated_silu": {**MT5, "feed_forward_proj": "gated-silu", "layer_norm_epsilon": 1e-2},
    "modernbert": MODERN_BERT,
    "modernbert_odd": {
        **MODERN_BERT, "num_attention_heads": 6, "norm_bias": True, "attention_bias": True, "mlp_bias": True, "norm_eps": 1e-2,
        "global_attn_every_n_layers": 2, "local_attention": 4, "hidden_activation": "silu",
        "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 500.0},
                            "sliding_attention": {"rope_type": "default", "rope_theta": 50.0}},
    },
    "m2m100_unscaled": {**M2M100, "d_model": 35, "scale_embedding": False, "activation_function": "gelu"},
}
WIDTHS = {"bert": 32, "roberta": 36, "xlm-roberta": 36, "mt5": 28, "m2m100": 40, "modernbert": 36}


def hugging_face_cases():
    """Returns every kind of text model, every pooler and every projection, but not every pair of the latter two."""
    options = {
        "mean_mlp": {"hf_pooler_type": "mean_pooler", "hf_proj_type": "mlp"},
        "max_linear": {"hf_pooler_type": "max_pooler", "hf_proj_type": "linear"},
        "cls_linear": {"hf_pooler_type": "cls_pooler", "hf_proj_type": "linear"},
        "last_state_mlp": {"hf_pooler_type": "cls_last_hidden_state_pooler"},
        "default_none": {"hf_pooler_type": None, "hf_proj_type": None},
    }
    for name in WIDTHS:
        for option, text in options.items():
            yield f"{name}_{option}", name, text
    for name in sorted(TEXT_MODELS.keys() - WIDTHS.keys()):
        yield name, name, {"hf_proj_type": "linear"}


for name, text_model, text in hugging_face_cases():
    embed_dim = {"embed_dim": WIDTHS[text_model]} if name.endswith("default_none") else {}
    CASES[name] = ({}, {"hf_model_name": text_model, **text}, embed_dim)

CASES["coca"] = (
    {"attentional_pool": True, "attn_pooler_queries": 5, "output_tokens": True},
    {"embed_cls": True, "output_tokens": True},
    {"multimodal_cfg": {**TEXT, "width": 24, "heads": 4, "mlp_ratio": 3}, "custom_text": True},
)
CASES["coca_tokens_quick_gelu"] = (
    {"output_tokens": True},
    {"embed_cls": True, "output_tokens": True},
    {
        "multimodal_cfg": {**TEXT, "layers": 1, "ls_init_value": 0.1},
        "custom_text": True,
        "quick_gelu": True,
        "init_logit_bias": -10,
    },
)
CASES["coca_roberta"] = (
    {"attentional_pool": "parallel", "attn_pooler_queries": 5, "output_tokens": True},
    {"hf_model_name": "roberta", "hf_proj_type": "linear", "output_tokens": True},
    {"multimodal_cfg": {"width": 32, "heads": 2, "layers": 2}, "custom_text": True, "embed_dim": 32},
)


def fnv1a64(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


# Numbers that `noise` makes at once: as many as fit the processor's cache.
BLOCK = 1 << 15
INCREMENT = 0x9E3779B97F4A7C15
STEPS = np.arange(1, BLOCK + 1, dtype=np.uint64) * np.uint64(INCREMENT)


def noise(key, count):
    """Returns uniform numbers in [-1, 1), seeded by a key."""
    out = np.empty(count)
    seed = fnv1a64(key)
    with np.errstate(over="ignore"):
        for start in range(0, count, BLOCK):
            z = np.uint64((seed + start * INCREMENT) % 2**64) + STEPS[: count - start]
            z ^= z >> np.uint64(30)
            z *= np.uint64(0xBF58476D1CE4E5B9)
            z ^= z >> np.uint64(27)
            z *= np.uint64(0x94D049BB133111EB)
            z ^= z >> np.uint64(31)
            out[start : start + BLOCK] = z >> np.uint64(40)
    return out / 8388608.0 - 1.0


def weights(key, shape):
    leaf = key.rsplit(".", 1)[-1]
    u = noise(key, math.prod(shape))
    if leaf == "logit_scale":
        offset, amplitude = 2.6592, 0.1
    elif leaf == "logit_bias":
        offset, amplitude = -10.0, 0.1
    elif leaf == "running_var":
        offset, amplitude, u = 1.0, 0.5, np.abs(u)
    elif leaf == "running_mean" or leaf.endswith("bias"):
        offset, amplitude = 0.0, 0.1
    elif len(shape) < 2:
        offset, amplitude = (1.0, 0.2) if leaf in ("weight", "gamma") else (0.0, 0.5)
    else:
        offset, amplitude = 0.0, math.sqrt(3 / math.prod(shape[1:]))
    return torch.from_numpy((offset + amplitude * u).astype(np.float32).reshape(shape))


def known_text_model(name):
    """Returns clipway's description of a text model, whose name may be an alias."""
    known = json.loads((Path(__file__).parent / "../crates/clipway-model/data/text_models.json").read_text())
    while isinstance(name, str):
        name = known[name]
    return name


def sides(size):
    """Returns height and width of images, from one side or both."""
    return size if isinstance(size, list) else (size, size)


def text_model_of(text_cfg):
    """Returns the config of a transformers text model, if a config uses one."""
    name = text_cfg.get("hf_model_name")
    return None if name is None else transformers.AutoConfig.for_model(**TEXT_MODELS[name])


def make_tokens(text_cfg):
    """Returns four texts: of several lengths, one without end token, one without padding; where a text tower hides
    padding, one also has padding inside and at the start."""
    length, vocabulary = text_cfg["context_length"], text_cfg["vocab_size"]
    pad, end = text_cfg.get("pad_id", 0), text_cfg.get("eos_id", vocabulary - 1)
    text_model = text_model_of(text_cfg)
    if text_model is not None:
        pad = text_model.pad_token_id
    tokens = torch.full((4, length), pad, dtype=torch.int64)
    for row, words in enumerate([length // 2, 1, length, length - 1]):
        ids = np.abs(noise(f"input.tokens.{row}", words)) * (vocabulary - 12) + 10
        tokens[row, :words] = torch.from_numpy(ids.astype(np.int64))
        if words < length:
            tokens[row, words] = end
    if text_model is not None or text_cfg.get("text_arch") == "modern":
        inside = tokens[2].clone()
        inside[[0, 3, 4, length - 2]] = pad
        tokens = torch.cat([tokens, inside[None]])
    return tokens


def create_timm_model(name, norm_eps=None, **kwargs):
    """Calls timm's own function with one more argument: the epsilon of the token norms."""
    model = timm_create_model(name, **kwargs)
    if norm_eps is None:
        return model
    norm = type(model.blocks[0].norm1)
    return timm_create_model(name, norm_layer=functools.partial(norm, eps=norm_eps), **kwargs)


def build(config):
    config = copy.deepcopy(config)
    changes = config["vision_cfg"].pop("timm_model_kwargs", {})
    timm_module.create_model = functools.partial(create_timm_model, **changes)
    text_model = text_model_of(config["text_cfg"])
    is_custom = config.pop("custom_text", False) or text_model is not None or config["text_cfg"].get("text_arch") == "modern"
    model_class = CustomTextCLIP if is_custom else CLIP
    if "multimodal_cfg" in config:
        model_class = CoCa
    if text_model is not None:
        config["text_cfg"]["hf_model_pretrained"] = False
        transformers.AutoConfig.from_pretrained = open_clip.hf_model.AutoConfig.from_pretrained = lambda name: text_model
    model = model_class(**config).eval()
    # In place, so that a model of billions of parameters is in memory only once.
    for key, value in model.state_dict().items():
        if value.is_floating_point():
            value.copy_(weights(key, tuple(value.shape)))
    return model


def outputs(model, images, tokens):
    with torch.no_grad():
        # Pooling with a single query keeps that query's dimension.
        image = model.encode_image(images).flatten(1)
        text = model.encode_text(tokens)
        normalized = [torch.nn.functional.normalize(x, dim=-1) for x in (image, text)]
        logits = model.logit_scale.exp() * normalized[0] @ normalized[1].T
        if model.logit_bias is not None:
            logits = logits + model.logit_bias
    return {"image_features": image, "text_features": text, "logits_per_image": logits}


def write_safetensors(path, tensors, metadata):
    """Writes the same bytes for the same input, unlike the safetensors package."""
    names = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}
    header, data = {"__metadata__": dict(sorted(metadata.items()))}, b""
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):
        body = tensor.contiguous().numpy().tobytes()
        offsets = [len(data), len(data) + len(body)]
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
        data += body
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def make_images(height, width, count):
    images = np.stack([2 * noise(f"input.image.{b}", 3 * height * width) for b in range(count)])
    return torch.from_numpy(images.astype(np.float32).reshape(count, 3, height, width))


def write_golden(folder, name, config, images, with_truth=True):
    """Writes the outputs of a config's model."""
    model = build(config)
    height, width = sides(config["vision_cfg"].get("image_size", 224))
    images, tokens = make_images(height, width, images), make_tokens(config["text_cfg"])
    parameters = sum(p.numel() for p in model.parameters())
    if "timm_model_name" in config["vision_cfg"]:
        # As `force_image_size` does after loading the weights; otherwise many trunks accept only their own size.
        model.visual.set_input_size((height, width))
    tensors = {"tokens": tokens, **outputs(model, images, tokens)}
    if with_truth:
        truth = outputs(model.double(), images.double(), tokens)
        tensors.update({f"{key}_f64": value for key, value in truth.items()})
    assert all(torch.isfinite(value).all() for value in tensors.values()), name
    metadata = {
        "config": json.dumps(config),
        "image_size": json.dumps([height, width]),
        "model": name,
        "open_clip": open_clip.__version__,
        "params": str(parameters),
        "torch": torch.__version__.split("+")[0],
    }
    if "hf_model_name" in config["text_cfg"]:
        metadata["text_model"] = json.dumps(TEXT_MODELS[config["text_cfg"]["hf_model_name"]])
    write_safetensors(folder / f"{name}.safetensors", tensors, metadata)


def mend_open_clip():
    # open_clip 3.3.0 multiplies rank-4 tensors by torch.bmm in its cosine attention, which torch refuses; it means
    # matmul, which is the same for rank 3.
    torch.bmm = torch.matmul
    # Its max pooler fills with an integer mask, which torch refuses, and where there is text; it means to fill where
    # there is none.
    MaxPooler.forward = lambda self, x, mask: x.last_hidden_state.masked_fill(
        mask.unsqueeze(-1) == 0, -torch.inf
    ).max(1).values
    know_modern_bert()


def know_modern_bert():
    """Tells open_clip 3.3.0 what its main branch knows of ModernBERT, which has no layer of its own for pooling."""
    names = {"context_length": "max_position_embeddings", "vocab_size": "vocab_size", "width": "hidden_size",
             "heads": "num_attention_heads", "layers": "num_hidden_layers", "layer_attr": "layers",
             "token_embeddings_attr": "embeddings"}
    arch_dict["modernbert"] = {"config_names": names, "pooler": "mean_pooler"}
    from_config = transformers.AutoModel.from_config
    plain = lambda config, **options: from_config(config, **({} if config.model_type == "modernbert" else options))
    transformers.AutoModel.from_config = open_clip.hf_model.AutoModel.from_config = plain


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    mend_open_clip()
    cases = OF_MAIN if IS_MAIN else CASES
    for name, (vision, text, model_changes) in cases.items():
        whole = "timm_model_name" in vision or isinstance(vision.get("layers"), list)
        vision_cfg = vision if whole else {**VISION, **vision}
        config = {"embed_dim": 24, "vision_cfg": vision_cfg, "text_cfg": {**TEXT, **text}, **model_changes}
        only = sys.argv[2:]
        if only and name not in only and name.split("_")[0] not in only:
            continue
        write_golden(folder, name, config, IMAGES.get(name, 2))
    print(f"{len(cases)} goldens")


if __name__ == "__main__":
    main()
