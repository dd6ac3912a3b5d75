//! What the tests of clipway share: golden readers, and the checks that `xtask` and the tests run over them.

// Tests and chores read and write files of their own.
#![allow(clippy::disallowed_methods)]
#![forbid(unsafe_code)]

pub mod architecture_goldens;
pub mod architecture_runner;
pub mod engine_bench;
pub mod formula;
pub mod image_bench;
pub mod layout_goldens;
pub mod manifests;
pub mod onnx_runner;
pub mod preprocess_goldens;
pub mod processor_goldens;
pub mod token_bench;
pub mod token_goldens;
