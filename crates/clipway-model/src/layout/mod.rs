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
pub(crate) mod hf_siglip;
mod hf_siglip_config;
mod siglip_config;
mod hf_config;
mod hf_preprocessor;
mod hf_processor_class;
mod big_vision;
mod mobileclip;
mod clipway;
mod open_clip;
mod open_clip_custom_text;
mod openai;
mod refused;

pub use definition::Layout;
pub use error::{Contradictions, LayoutError, LayoutPart};
pub use hf_config::OWN_TOKENIZER;
pub use hf_preprocessor::read_image_processor;
pub(crate) use known::KnownConfig;

use crate::state_dict::StateDict;
use definition::{Conversion, has_prefix};

/// Every layout, more specific ones first.
pub static LAYOUTS: [&Layout; 20] = [
    &refused::SIGLIP2_NAFLEX,
    &refused::X_CLIP,
    &refused::CLIP_SEG,
    &refused::OWL_VIT,
    &refused::ALT_CLIP,
    &refused::BLIP,
    &refused::ALIGN,
    &refused::GROUP_VIT,
    &refused::CHINESE_CLIP,
    &refused::OTHER_MODALITIES,
    &hf_siglip::LAYOUT,
    &hf_clip::LAYOUT,
    &refused::OTHER_TRANSFORMERS,
    &big_vision::LAYOUT,
    &mobileclip::LAYOUT,
    &refused::EVA_CLIP,
    &openai::LAYOUT,
    &clipway::LAYOUT,
    &open_clip_custom_text::LAYOUT,
    &open_clip::LAYOUT,
];

impl Layout {
    /// The layout of a state dict, from its names and shapes; `None` if it is unknown.
    pub fn recognize(state_dict: &StateDict) -> Option<&'static Layout> {
        LAYOUTS.into_iter().find(|layout| (layout.recognizes)(state_dict))
    }

    /// Whether it is a transformers folder, whose tokenizer and processor follow that library.
    pub fn is_of_transformers(&self) -> bool {
        [&hf_clip::LAYOUT, &hf_siglip::LAYOUT].into_iter().any(|layout| layout.name == self.name)
    }
}
