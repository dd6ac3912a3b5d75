//! The programs that run graphs.

use super::provider::OrtProvider;
use super::{ort, rten};

/// A program that runs graphs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnnxRuntime {
    /// `rten`, a part of this program.
    #[default]
    Rten,
    /// ONNX Runtime: the user's own library, loaded when it is first used.
    Ort(OrtProvider),
}

impl OnnxRuntime {
    /// Its name and version, and where it computes if not on the processor.
    pub fn describe(self) -> String {
        match self {
            OnnxRuntime::Rten => rten::NAME.to_owned(),
            OnnxRuntime::Ort(provider) => {
                let name = ort::describe();
                match provider {
                    OrtProvider::Cpu => name,
                    _ => format!("{name} on {}", provider.name()),
                }
            }
        }
    }
}
