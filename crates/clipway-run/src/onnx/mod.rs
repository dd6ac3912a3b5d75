//! ONNX files, run by `rten`: a Rust runtime that shares nothing with the engine.
//!
//! What an export wrote is run from its bytes and compared with the source, so the engine alone never decides what is
//! verified.

mod session;
mod widen;
mod tower;
mod verify;

pub use session::{OnnxData, OnnxError, OnnxOutput, OnnxPort, OnnxSession};
pub use tower::{Colors, OnnxTower};
pub use verify::{OnnxVerification, OnnxVerifyError};
