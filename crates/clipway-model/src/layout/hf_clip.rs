//! `CLIPModel` of Hugging Face transformers: a folder of weights, `config.json` and `preprocessor_config.json`.

use super::names::{Blocks, Change, NameTable};
use super::{Conversion, Layout, has_prefix, hf_clip_config};
use crate::plan::{Converted, PlannedTensor, StepError};
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

/// One image tower: `CLIPVisionModel`, with a projection or without.
pub(super) static VISION: Layout = Layout {
    name: "transformers_clip_vision",
    title: "Hugging Face transformers CLIPVisionModel",
    recognizes: |state_dict| {
        has_prefix(state_dict, "vision_model.pre_layrnorm.") && !has_prefix(state_dict, "text_model.")
    },
    conversion: Conversion::Steps(vision_to_open_clip),
    known_config: Some(hf_clip_config::known_config),
    check_numbers: None,
};

/// One text tower: `CLIPTextModel`, with a projection or without.
pub(super) static TEXT: Layout = Layout {
    name: "transformers_clip_text",
    title: "Hugging Face transformers CLIPTextModel",
    recognizes: |state_dict| {
        has_prefix(state_dict, "text_model.embeddings.token_embedding.")
            && !["vision_model.", "text_model.head."].into_iter().any(|prefix| has_prefix(state_dict, prefix))
    },
    conversion: Conversion::Steps(|state_dict| NAMES.to_open_clip(state_dict)),
    known_config: Some(hf_clip_config::known_config),
    check_numbers: None,
};

/// Without a projection the features are the class token as it is; open_clip's tower always has one.
fn vision_to_open_clip(state_dict: &StateDict) -> Result<Converted, StepError> {
    let mut converted = NAMES.to_open_clip(state_dict)?;
    let class = state_dict.get("vision_model.embeddings.class_embedding");
    if let (Some(class), None) = (class, state_dict.get("visual_projection.weight")) {
        let width = class.elements();
        converted.tensors.push(PlannedTensor::identity("visual.proj", class.dtype, width)?);
    }
    Ok(converted)
}

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

/// The image tower's tensors outside of modules and blocks.
pub(super) const VISION_NAMES: [(&str, &str, Change); 4] = [
    ("vision_model.embeddings.class_embedding", "visual.class_embedding", Change::None),
    ("vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight", Change::Patches),
    ("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding", Change::None),
    ("visual_projection.weight", "visual.proj", Change::Transposed),
];

/// The image tower's blocks.
pub(super) const VISION_BLOCKS: Blocks = Blocks {
    theirs: "vision_model.encoder.layers.",
    ours: "visual.transformer.resblocks.",
    modules: &MODULES,
    projections: PROJECTIONS,
    fused: "attn.in_proj_",
};

/// transformers' names with open_clip's.
pub(crate) static NAMES: NameTable = NameTable {
    tensors: &[
        VISION_NAMES[0],
        VISION_NAMES[1],
        VISION_NAMES[2],
        VISION_NAMES[3],
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
        VISION_BLOCKS,
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
