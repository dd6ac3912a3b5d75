//! Architectures: from a config to the parameters a checkpoint must hold and the graphs of both towers.
//!
//! A new architecture is one file here and one line in a table of `clip.rs`.

mod error;
mod model;
mod tower;
mod attentional_pooler;
mod clip;
mod coca_decoder;
mod hugging_face;
mod mobile_one;
mod mobile_text;
mod modern_text;
mod modified_resnet;
mod norm;
mod rep_mixer;
mod text_transformer;
mod timm;
mod transformer;
mod vit;

pub use clip::build;
pub use error::ArchitectureError;
pub(crate) use mobile_one::is_folded_name;
pub use model::Model;
pub(crate) use timm::siglip;

use tower::{Declared, Tower, TowerKind};
