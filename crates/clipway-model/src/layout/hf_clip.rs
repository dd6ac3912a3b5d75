//! `CLIPModel` of Hugging Face transformers: a folder of weights, `config.json` and `preprocessor_config.json`.

use super::names::{Blocks, Change, NameTable};
use super::{Conversion, Layout, has_prefix, hf_clip_config};
use crate::state_dict::StateDict;

/// The layout.
pub(super) static LAYOUT: Layout = Layout {
    name: "transformers_clip",
    title: "Hugging Face transformers CLIPModel",
    recognizes,
    conversion: Conversion::Steps(|state_dict| NAMES.to_open_clip(state_dict)),
    known_config: Some(hf_clip_config::known_config),
    check_numbers: None,
};

/// Tensors stored by older versions of transformers, and the rule that drops them.
pub(super) const POSITION_IDS: (&str, &str) =
    ("embeddings.position_ids", "position ids are computed, not stored");

/// Queries, keys and values of transformers' attention.
pub(super) const PROJECTIONS: [&str; 3] = ["self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj."];

/// Modules of a block, with open_clip's names.
pub(super) const MODULES: [(&str, &str); 5] = [
    ("layer_norm1.", "ln_1."),
    ("layer_norm2.", "ln_2."),
    ("mlp.fc1.", "mlp.c_fc."),
    ("mlp.fc2.", "mlp.c_proj."),
    ("self_attn.out_proj.", "attn.out_proj."),
];

/// transformers' names with open_clip's.
pub(crate) static NAMES: NameTable = NameTable {
    tensors: &[
        ("vision_model.embeddings.class_embedding", "visual.class_embedding", Change::None),
        ("vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight", Change::None),
        ("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding", Change::None),
        ("visual_projection.weight", "visual.proj", Change::Transposed),
        ("text_model.embeddings.token_embedding.weight", "token_embedding.weight", Change::None),
        ("text_model.embeddings.position_embedding.weight", "positional_embedding", Change::None),
        ("text_projection.weight", "text_projection", Change::Transposed),
        ("logit_scale", "logit_scale", Change::Number),
    ],
    modules: &[
        ("vision_model.pre_layrnorm.", "visual.ln_pre."),
        ("vision_model.post_layernorm.", "visual.ln_post."),
        ("text_model.final_layer_norm.", "ln_final."),
    ],
    poolers: &[],
    blocks: &[
        Blocks {
            theirs: "vision_model.encoder.layers.",
            ours: "visual.transformer.resblocks.",
            modules: &MODULES,
            projections: PROJECTIONS,
            fused: "attn.in_proj_",
        },
        Blocks {
            theirs: "text_model.encoder.layers.",
            ours: "transformer.resblocks.",
            modules: &MODULES,
            projections: PROJECTIONS,
            fused: "attn.in_proj_",
        },
    ],
    leftovers: &[POSITION_IDS],
};

fn recognizes(state_dict: &StateDict) -> bool {
    let text = [
        "text_model.encoder.layers.",
        "text_model.final_layer_norm.",
        "text_model.embeddings.token_embedding.",
    ];
    has_prefix(state_dict, "vision_model.") && text.into_iter().any(|prefix| has_prefix(state_dict, prefix))
}
