//! Towers as graphs of plain ONNX operators.
//!
//! Every operation of a [`Graph`](crate::graph::Graph) becomes a few operators of ONNX's own set 17: no functions, no contributed operators,
//! no resizing, no control flow. The batch is free by construction, masks are explicit, positions are resampled and
//! scales folded when the file is written. What an initializer holds is described by a recipe, so nothing is read
//! before the whole graph is known, and one tensor is in memory at a time.

mod options;
mod recipe;
mod emit;
mod fuse;
mod lowering;
mod activation;
mod attention;
mod layers;
mod masks;
mod pool;
mod tokens;
mod windows;
mod lower;
mod tower;
mod heads;
mod profile;

pub use heads::{Classifier, lower, lower_pair};
pub use options::{OnnxOptions, OnnxPrecision, PixelInput, PrecisionError};
pub use profile::{Facts, IMMICH, ModelFile, OWN, OnnxSettings, Profile, TRANSFORMERS, is_siglip};
pub use recipe::{MakeError, ParameterValues};
pub use tower::OnnxTower;
