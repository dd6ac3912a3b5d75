//! Why a model cannot be loaded.

use std::path::PathBuf;

use clipway_formats::shown_path;
use clipway_model::artifact::ArtifactError;
use clipway_model::input::InputError;
use clipway_model::plan::Towers;
use clipway_model::source::SourceError;

use crate::budget::BudgetError;
use crate::encoder::EncoderError;
use crate::engine::EngineError;
use crate::text::TokenizerError;

/// A model cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The source cannot be resolved.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The source lacks a requested tower.
    #[error("`{}` has only the {} tower, not the {} tower", shown_path(path), found.name(), wanted.name())]
    NoTower {
        /// The source.
        path: PathBuf,
        /// The requested towers.
        wanted: Towers,
        /// The existing towers.
        found: Towers,
    },
    /// No threads to run on.
    #[error(transparent)]
    Processor(EngineError),
    /// The model needs more than its budget.
    #[error("`{}`: {cause}", shown_path(path))]
    Budget {
        /// The source.
        path: PathBuf,
        /// The exceeded limit.
        cause: BudgetError,
    },
    /// The engine refuses the weights.
    #[error("`{}`: {cause}", shown_path(path))]
    Engine {
        /// The source.
        path: PathBuf,
        /// The reason.
        cause: EngineError,
    },
    /// The towers do not match the model.
    #[error("`{}`: {cause}", shown_path(path))]
    Encoder {
        /// The source.
        path: PathBuf,
        /// The reason.
        cause: EncoderError,
    },
    /// The tokenizer is malformed.
    #[error("`{}`: {cause}", shown_path(folder))]
    Tokenizer {
        /// The folder of its files.
        folder: PathBuf,
        /// What is wrong.
        cause: TokenizerError,
    },
    /// The folder's `clipway.json` cannot be read.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A file cannot be opened or read.
    #[error(transparent)]
    Input(#[from] InputError),
}

impl LoadError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            LoadError::Source(error) => error.code(),
            LoadError::NoTower { .. } => "missing",
            LoadError::Processor(error) => error.code(),
            LoadError::Engine { cause, .. } => cause.code(),
            LoadError::Encoder { cause, .. } => cause.code(),
            LoadError::Tokenizer { cause, .. } => cause.code(),
            LoadError::Artifact(error) => error.code(),
            LoadError::Input(error) => error.code(),
            LoadError::Budget { cause, .. } => cause.code(),
        }
    }
}
