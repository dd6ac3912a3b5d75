//! Why a folder or file of ONNX graphs cannot be read, run or judged.

use std::path::PathBuf;

use clipway_formats::{FormatError, shown_path};
use clipway_model::input::InputError;

use super::failure::OnnxError;
use crate::clip::ClipError;
use crate::embed::ClassifyError;
use crate::encoder::EncoderError;
use crate::load::LoadError;
use crate::text::TokenizerError;

/// A folder or file of ONNX graphs cannot be read, run or judged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxFolderError {
    /// A file cannot be opened or read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A graph is not sound.
    #[error("`{}`: {cause}", shown_path(path))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: Box<FormatError>,
    },
    /// A graph is not a tower.
    #[error("`{}` is no tower of a CLIP: {cause}", shown_path(path))]
    NoTower {
        /// The file.
        path: PathBuf,
        /// What its inputs and outputs are.
        cause: String,
    },
    /// A folder has no graphs where programs look for them.
    #[error("`{}` has no ONNX files of a known layout: {}", shown_path(path), expected.join(", "))]
    NoGraphs {
        /// The folder.
        path: PathBuf,
        /// Where they are looked for.
        expected: Vec<String>,
    },
    /// Nothing says how images and texts are prepared.
    #[error("`{}`: nothing says how images and texts become the inputs of the graphs", shown_path(path))]
    NoContract {
        /// The folder.
        path: PathBuf,
    },
    /// A file that says it is malformed.
    #[error("`{}`: {cause}", shown_path(path))]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The runtime refuses a graph.
    #[error("`{}`: {cause}", shown_path(path))]
    Graph {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: OnnxError,
    },
    /// An activation does not fit f16.
    #[error("`{}`: node `{node}` computes {largest}, and the largest f16 is 65504", shown_path(path))]
    Overflow {
        /// The file.
        path: PathBuf,
        /// The node.
        node: String,
        /// The absolute value of the activation.
        largest: f32,
    },
    /// The tokenizer is malformed.
    #[error("`{}`: {cause}", shown_path(path))]
    Tokenizer {
        /// The folder of its files.
        path: PathBuf,
        /// What is wrong.
        cause: TokenizerError,
    },
    /// The towers do not belong together.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The source that they are compared with cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A side refuses the inputs.
    #[error(transparent)]
    Run(#[from] ClipError),
    /// The source refuses the labels or prompts of a classifier.
    #[error(transparent)]
    Classify(#[from] ClassifyError),
}

impl OnnxFolderError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            OnnxFolderError::Input(error) => error.code(),
            OnnxFolderError::Malformed { cause, .. } => cause.code.name(),
            OnnxFolderError::NoTower { .. } => "onnx-load",
            OnnxFolderError::NoGraphs { .. } | OnnxFolderError::NoContract { .. } => "missing",
            OnnxFolderError::Config { .. } => "malformed",
            OnnxFolderError::Graph { cause, .. } => cause.code(),
            OnnxFolderError::Overflow { .. } => "overflow",
            OnnxFolderError::Tokenizer { cause, .. } => cause.code(),
            OnnxFolderError::Encoder(error) => error.code(),
            OnnxFolderError::Load(error) => error.code(),
            OnnxFolderError::Run(error) => error.code(),
            OnnxFolderError::Classify(error) => error.code(),
        }
    }
}
