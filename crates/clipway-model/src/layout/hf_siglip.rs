//! `SiglipModel` of Hugging Face transformers, including fixed-resolution SigLIP 2. open_clip implements it with timm's
//! vision transformer.

use super::hf_clip::{MODULES, POSITION_IDS, PROJECTIONS};
use super::names::{Blocks, Change, NameTable};
use super::{Conversion, Layout, has_prefix, hf_siglip_config};
use crate::plan::{Converted, Step, StepError};
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

/// Name of the patch embedding, in open_clip.
const PATCHES: &str = "visual.trunk.patch_embed.proj.weight";

/// The tensors under open_clip's names. `Siglip2Model` takes patches as rows of `[height, width, channels]`: its linear
/// layer is the convolution of a fixed size of images.
fn to_open_clip(state_dict: &StateDict) -> Result<Converted, StepError> {
    let mut converted = NAMES.to_open_clip(state_dict)?;
    let patches = converted.tensors.iter_mut().find(|planned| planned.target.name == PATCHES);
    if let Some(patches) = patches
        && let [width, values] = patches.target.shape[..]
        && let Some(side) = patch_side(values)
    {
        patches.then(Step::Reshape { shape: vec![width, side, side, CHANNELS] })?;
        patches.then(Step::Transpose { axes: vec![0, 3, 1, 2] })?;
    }
    Ok(converted)
}

/// Channels of an image.
const CHANNELS: usize = 3;

/// Side of a square patch of this many values; `None` where there is none.
pub(super) fn patch_side(values: usize) -> Option<usize> {
    let side = (values / CHANNELS).isqrt();
    (side > 0 && side * side * CHANNELS == values).then_some(side)
}

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
        (
            "vision_model.embeddings.patch_embedding.weight",
            "visual.trunk.patch_embed.proj.weight",
            Change::None,
        ),
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
