//! ONNX files, run by `rten`: a runtime in Rust that shares nothing with the engine.
//!
//! What an export wrote is run from its bytes and compared with the source, so that nothing is called verified by the
//! engine alone.

mod session;

pub use session::{OnnxData, OnnxError, OnnxOutput, OnnxPort, OnnxSession};
