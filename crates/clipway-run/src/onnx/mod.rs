//! ONNX files, run by `rten`: a Rust runtime that shares nothing with the engine.
//!
//! What an export wrote is run from its bytes and compared with the source, so that nothing is called verified by the
//! engine alone. Graphs of other programs are found, run and judged the same way.

mod failure;
mod port;
mod loaded;
mod provider;
mod rten;
#[cfg(feature = "ort")]
mod ort;
#[cfg(not(feature = "ort"))]
#[path = "no_ort.rs"]
mod ort;
mod runtime;
mod session;
mod sizes;
mod widen;
mod watch;
mod error;
mod graph;
mod contract;
mod tower;
mod folder;
mod verify;

pub use contract::OnnxContract;
pub use error::OnnxFolderError;
pub use failure::OnnxError;
pub use folder::OnnxFolder;
pub use graph::{OnnxGraphFile, OnnxTowerPorts};
pub use port::{OnnxData, OnnxOutput, OnnxPort};
pub use provider::OrtProvider;
pub use runtime::OnnxRuntime;
pub use session::OnnxSession;
pub use sizes::OnnxLengths;
pub use tower::{Colors, OnnxTower};
pub use verify::{OnnxVerification, classifier_of};
pub use watch::Peak;

/// What can compute here, by name.
pub fn backends() -> Vec<String> {
    let ort = ort::is_there().then(|| OnnxRuntime::Ort(OrtProvider::Cpu).describe());
    ["engine".to_owned(), OnnxRuntime::Rten.describe()].into_iter().chain(ort).collect()
}
