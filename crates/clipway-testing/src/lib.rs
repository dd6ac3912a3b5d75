//! Shared test support: golden readers, and the checks that `xtask` and the tests run on them.

// Tests and tools read and write their own files.
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
