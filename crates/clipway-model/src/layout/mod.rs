//! Which project's names and shapes a state dict has, and what open_clip calls its tensors.
//!
//! A layout is one file here and one line in [`LAYOUTS`].

mod known;
mod error;
mod families;
mod definition;
mod names;
pub(crate) mod hf_clip;
mod hf_clip_config;
pub(crate) mod naflex;
pub(crate) mod hf_siglip;
mod hf_dual;
mod hf_siglip_config;
mod siglip_config;
mod hf_config;
mod hf_preprocessor;
mod hf_processor_class;
mod big_vision;
mod mobileclip;
mod chinese_clip;
mod eva_clip;
mod forced_naflex;
mod perception;
mod long_clip;
mod clipway;
mod open_clip;
mod open_clip_custom_text;
mod openai;
mod others;
mod refused;
mod refused_adapters;
mod refused_images;
mod refused_states;
mod wrapped;

pub use definition::Layout;
pub use error::{Contradictions, LayoutError, LayoutPart};
pub(crate) use forced_naflex::{NAME as FORCED_NAFLEX, plain_forms};
pub use hf_config::OWN_TOKENIZER;
pub use hf_preprocessor::read_image_processor;
pub(crate) use known::KnownConfig;

use crate::state_dict::StateDict;
use definition::{Conversion, has_prefix};
pub(crate) use others::{is_supported, other_kind};
pub(crate) use wrapped::{bare_tower, lacking, prefixes, split};

/// Every layout, more specific ones first.
pub static LAYOUTS: [&Layout; 47] = [
    &refused_states::QUANTIZED,
    &refused_states::OPTIMIZER,
    &refused_states::TEXTUAL_INVERSION,
    &refused_adapters::LORA,
    &refused_adapters::ADAPTER,
    &refused_adapters::PROMPTS,
    &refused::X_CLIP,
    &refused::CLIP_SEG,
    &refused::OWL_VIT,
    &refused::ALT_CLIP,
    &refused::BLIP,
    &refused::ALIGN,
    &refused::GROUP_VIT,
    &refused::AIM_V2,
    &refused::BLIP_OWN,
    &hf_dual::LAYOUT,
    &refused::DUAL,
    &refused::FLAVA,
    &refused::CLAP,
    &refused::GENERATIVE,
    &refused::CLASSIFIER,
    &hf_siglip::LAYOUT,
    &hf_siglip::VISION,
    &hf_siglip::TEXT,
    &hf_clip::LAYOUT,
    &hf_clip::VISION,
    &hf_clip::TEXT,
    &refused::OTHER_TRANSFORMERS,
    &big_vision::LAYOUT,
    &mobileclip::LAYOUT,
    &eva_clip::LAYOUT,
    &refused::DISTIL_BERT,
    &refused::M_CLIP,
    &refused::BERT,
    &refused::DE_CLIP,
    &refused::SLIP,
    &refused::TIMM,
    &refused::TIMM_ALONE,
    &refused_images::CLASSIFIER,
    &chinese_clip::LAYOUT,
    &perception::LAYOUT,
    &long_clip::LAYOUT,
    &openai::LAYOUT,
    &forced_naflex::LAYOUT,
    &clipway::LAYOUT,
    &open_clip_custom_text::LAYOUT,
    &open_clip::LAYOUT,
];

impl Layout {
    /// The layout of a state dict, from its names and shapes; `None` if it is unknown.
    pub fn recognize(state_dict: &StateDict) -> Option<&'static Layout> {
        LAYOUTS.into_iter().find(|layout| (layout.recognizes)(state_dict))
    }

    /// Whether its tensors are converted; other layouts are recognized to be named.
    pub(crate) fn is_converted(&self) -> bool {
        matches!(self.conversion, Conversion::Steps(_))
    }

    /// Whether it is a transformers folder, whose tokenizer and processor follow that library.
    pub fn is_of_transformers(&self) -> bool {
        self.name.starts_with("transformers_")
    }
}
