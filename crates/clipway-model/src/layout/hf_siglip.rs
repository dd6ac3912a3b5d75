//! `SiglipModel` and `Siglip2Model` of Hugging Face transformers. open_clip implements them with timm's vision transformer
//! and its `NaFlexVit`.

use super::hf_clip::{MODULES, POSITION_IDS, PROJECTIONS};
use super::names::{Blocks, Change, NameTable};
use super::{Conversion, Layout, has_prefix, hf_siglip_config, naflex};
use crate::plan::{Converted, StepError};
use crate::state_dict::StateDict;

/// The layout.
pub(super) static LAYOUT: Layout = Layout {
    name: "transformers_siglip",
    title: "Hugging Face transformers SiglipModel",
    recognizes: |state_dict| {
        let is_pair = has_prefix(state_dict, "vision_model.") && has_prefix(state_dict, "text_model.");
        is_pair
            && ["vision_model.head.", "text_model.head.", "logit_bias"]
                .into_iter()
                .any(|prefix| has_prefix(state_dict, prefix))
    },
    conversion: Conversion::Steps(to_open_clip),
    known_config: Some(hf_siglip_config::known_config),
    check_numbers: None,
};

/// The tensors under open_clip's names.
fn to_open_clip(state_dict: &StateDict) -> Result<Converted, StepError> {
    let converted = NAMES.to_open_clip(state_dict)?;
    if is_naflex(state_dict) { naflex::named(converted) } else { Ok(converted) }
}

/// Whether it is a `Siglip2Model`, which takes patches as rows of `[height, width, channels]`.
pub(super) fn is_naflex(state_dict: &StateDict) -> bool {
    state_dict.get(PATCHES).is_some_and(|patches| patches.shape.len() == 2)
}

/// The patch embedding: a convolution, or the linear layer of `Siglip2Model`.
pub(super) const PATCHES: &str = "vision_model.embeddings.patch_embedding.weight";

/// One image tower: `SiglipVisionModel`.
pub(super) static VISION: Layout = Layout {
    name: "transformers_siglip_vision",
    title: "Hugging Face transformers SiglipVisionModel",
    recognizes: |state_dict| {
        has_prefix(state_dict, "vision_model.head.") && !has_prefix(state_dict, "text_model.")
    },
    ..LAYOUT
};

/// One text tower: `SiglipTextModel`.
pub(super) static TEXT: Layout = Layout {
    name: "transformers_siglip_text",
    title: "Hugging Face transformers SiglipTextModel",
    recognizes: |state_dict| {
        has_prefix(state_dict, "text_model.head.") && !has_prefix(state_dict, "vision_model.")
    },
    ..LAYOUT
};

/// transformers' names with open_clip's.
pub(crate) static NAMES: NameTable = NameTable {
    tensors: &[
        (PATCHES, "visual.trunk.patch_embed.proj.weight", Change::Patches),
        ("vision_model.embeddings.patch_embedding.bias", "visual.trunk.patch_embed.proj.bias", Change::None),
        ("vision_model.embeddings.position_embedding.weight", "visual.trunk.pos_embed", Change::Batched),
        ("vision_model.head.probe", "visual.trunk.attn_pool.latent", Change::None),
        ("text_model.embeddings.token_embedding.weight", "text.token_embedding.weight", Change::None),
        ("text_model.embeddings.position_embedding.weight", "text.positional_embedding", Change::None),
        ("logit_scale", "logit_scale", Change::OneNumber),
        ("logit_bias", "logit_bias", Change::OneNumber),
    ],
    modules: &[
        ("vision_model.post_layernorm.", "visual.trunk.norm."),
        ("vision_model.head.attention.out_proj.", "visual.trunk.attn_pool.proj."),
        ("vision_model.head.layernorm.", "visual.trunk.attn_pool.norm."),
        ("vision_model.head.mlp.", "visual.trunk.attn_pool.mlp."),
        ("text_model.final_layer_norm.", "text.ln_final."),
        ("text_model.head.", "text.text_projection."),
    ],
    poolers: &[(
        "vision_model.head.attention.in_proj_",
        ["visual.trunk.attn_pool.q.", "visual.trunk.attn_pool.kv."],
    )],
    blocks: &[
        Blocks {
            theirs: "vision_model.encoder.layers.",
            ours: "visual.trunk.blocks.",
            modules: &[
                ("layer_norm1.", "norm1."),
                ("layer_norm2.", "norm2."),
                ("mlp.", "mlp."),
                ("self_attn.out_proj.", "attn.proj."),
            ],
            projections: PROJECTIONS,
            fused: "attn.qkv.",
        },
        Blocks {
            theirs: "text_model.encoder.layers.",
            ours: "text.transformer.resblocks.",
            modules: &MODULES,
            projections: PROJECTIONS,
            fused: "attn.in_proj_",
        },
    ],
    leftovers: &[POSITION_IDS],
};
