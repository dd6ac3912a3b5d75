//! Towers as graphs of standard ONNX operators.
//!
//! Every operation of a [`Graph`](crate::graph::Graph) becomes a few operators of ONNX's own operator set 17: no
//! functions, no contributed operators, no resizing, no control flow. The batch size is always free, masks are
//! explicit, and positions are resampled and scales folded when the file is written. A recipe describes the contents of
//! each initializer, so nothing is read before the whole graph is known, and only one tensor is in memory at a time.

mod int8;
mod options;
mod recipe;
mod emit;
mod fuse;
mod narrow;
mod lengths;
mod lowering;
mod activation;
mod attention;
mod rounding;
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
pub use int8::{Int8, Ranges};
pub use options::{OnnxOptions, OnnxPrecision, PixelInput, PrecisionError, TextPadding};
pub use profile::{
    Facts, FileContent, IMMICH, ModelFile, OWN, OnnxSettings, Profile, TRANSFORMERS, is_siglip,
};
pub use recipe::{MakeError, ParameterValues};
pub use tower::OnnxTower;
