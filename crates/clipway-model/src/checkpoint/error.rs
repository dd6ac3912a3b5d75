//! Why a source cannot be opened.

use std::path::PathBuf;

use clipway_formats::{FormatError, shown_path};

use crate::artifact::ArtifactError;
use crate::input::InputError;

/// A source cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file cannot be opened or read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The folder is an artifact whose `clipway.json` cannot be read or does not list a file that would be used.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A file is refused: what is wrong, and where.
    #[error("`{}`: {cause}", shown_path(path))]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: FormatError,
    },
    /// A folder without a weight file.
    #[error("`{}` contains no weights", shown_path(folder))]
    NoWeights {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder with several weight files, none of them preferred by open_clip.
    #[error("`{}` contains several weight files: {}", shown_path(folder), candidates.join(", "))]
    Ambiguous {
        /// The folder.
        folder: PathBuf,
        /// Names of the files.
        candidates: Vec<String>,
    },
    /// A shard that is a link to a place outside the index's folder.
    #[error("`{}`: shard `{shard}` is a link that leaves the folder of the index", shown_path(index))]
    ShardEscapes {
        /// The index.
        index: PathBuf,
        /// Name of the shard.
        shard: String,
    },
}

impl CheckpointError {
    /// Stable code of the error, as in [`clipway_formats::Code::name`].
    pub fn code(&self) -> &'static str {
        match self {
            CheckpointError::Input(error) => error.code(),
            CheckpointError::Artifact(error) => error.code(),
            CheckpointError::Format { cause, .. } => cause.code.name(),
            CheckpointError::NoWeights { .. } => "missing",
            CheckpointError::Ambiguous { .. } => "ambiguous",
            CheckpointError::ShardEscapes { .. } => "path-escape",
        }
    }
}
