//! Layouts that are recognised so that they can be named, and refused with the reason.

use super::{Conversion, Layout, has_prefix};
use crate::state_dict::StateDict;

/// Why models of timm's towers are refused.
const NEEDS_TIMM: &str = "it needs the timm image tower, which is not supported yet";

/// transformers' `SiglipModel` and `Siglip2Model`.
pub(super) static SIGLIP: Layout = Layout {
    name: "transformers_siglip",
    title: "Hugging Face transformers SiglipModel",
    recognises: |tensors| {
        has_prefix(tensors, "vision_model.head.") || is_pair(tensors) && has(tensors, "logit_bias")
    },
    conversion: Conversion::Refused(NEEDS_TIMM),
    known_config: None,
};

/// transformers' `AltCLIPModel`.
pub(super) static ALT_CLIP: Layout = Layout {
    name: "transformers_altclip",
    title: "Hugging Face transformers AltCLIPModel",
    recognises: |tensors| has_prefix(tensors, "text_model.roberta."),
    conversion: Conversion::Refused(
        "its text tower is XLM-RoBERTa with a linear layer and a layer norm, which no config of open_clip has",
    ),
    known_config: None,
};

/// transformers' `BlipModel`, which has names of Chinese-CLIP too.
pub(super) static BLIP: Layout = Layout {
    name: "transformers_blip",
    title: "Hugging Face transformers BLIP",
    recognises: |tensors| {
        has_prefix(tensors, "vision_model.encoder.layers.0.self_attn.qkv.")
            || has_prefix(tensors, "text_decoder.bert.")
    },
    conversion: Conversion::Refused("its towers attend to each other, which no config of open_clip has"),
    known_config: None,
};

/// transformers' `ChineseCLIPModel`.
pub(super) static CHINESE_CLIP: Layout = Layout {
    name: "transformers_chinese_clip",
    title: "Hugging Face transformers ChineseCLIPModel",
    recognises: |tensors| is_bert(tensors) && has_prefix(tensors, "vision_model."),
    conversion: Conversion::Refused(
        "its text tower is BERT without the pooler and projection of open_clip's Hugging Face towers",
    ),
    known_config: None,
};

/// One tower alone of a transformers model, or another model with names like CLIP's.
pub(super) static OTHER_TRANSFORMERS: Layout = Layout {
    name: "transformers_other",
    title: "a Hugging Face transformers model that is not CLIPModel",
    recognises: |tensors| {
        ["vision_model.", "text_model.", "clip.vision_model.", "clip.text_model."]
            .into_iter()
            .any(|prefix| has_prefix(tensors, prefix))
    },
    conversion: Conversion::Refused("only both towers of CLIPModel with their projections are"),
    known_config: None,
};

/// Google's big_vision, as `.npz`.
pub(super) static BIG_VISION: Layout = Layout {
    name: "big_vision",
    title: "Google big_vision SigLIP",
    recognises: |tensors| {
        ["params/img/", "img/"].into_iter().any(|prefix| has_prefix(tensors, prefix))
            && ["params/txt/", "txt/"].into_iter().any(|prefix| has_prefix(tensors, prefix))
    },
    conversion: Conversion::Refused(NEEDS_TIMM),
    known_config: None,
};

/// Apple's MobileCLIP, as Apple's own code saves it.
pub(super) static MOBILE_CLIP: Layout = Layout {
    name: "mobileclip",
    title: "Apple MobileCLIP",
    recognises: |tensors| {
        has_prefix(tensors, "image_encoder.model.") || has_prefix(tensors, "text_encoder.embedding_layer.")
    },
    conversion: Conversion::Refused(
        "it needs the FastViT image tower and Apple's text tower, which are not supported yet",
    ),
    known_config: None,
};

fn has(tensors: &StateDict, name: &str) -> bool {
    tensors.find(name).is_some()
}

fn is_pair(tensors: &StateDict) -> bool {
    has_prefix(tensors, "vision_model.") && has_prefix(tensors, "text_model.")
}

/// Whether the text tower has BERT's names.
fn is_bert(tensors: &StateDict) -> bool {
    has_prefix(tensors, "text_model.encoder.layer.")
        || has_prefix(tensors, "text_model.embeddings.word_embeddings.")
}
