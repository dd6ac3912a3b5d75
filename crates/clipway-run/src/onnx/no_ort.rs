//! In place of ONNX Runtime, where the program was built without it.

use std::path::Path;

use super::failure::OnnxError;
use super::loaded::Parts;
use super::provider::OrtProvider;

/// Its name.
pub(super) fn describe() -> String {
    "ONNX Runtime".to_owned()
}

/// Whether there is a library.
pub(super) fn is_there() -> bool {
    false
}

/// Refuses.
pub(super) fn load_file(_: &Path, _: OrtProvider) -> Result<Parts, OnnxError> {
    Err(OnnxError::NoRuntime { cause: "this program was built without the feature `ort`".to_owned() })
}
