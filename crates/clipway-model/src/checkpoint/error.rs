//! Why a source cannot be opened.

use std::io;
use std::path::PathBuf;

use clipway_formats::FormatError;

/// A source cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The system refuses to open or read a file.
    #[error("cannot read `{}`: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// A file is refused: what is wrong and where.
    #[error("`{}`: {cause}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        cause: FormatError,
    },
    /// A folder without a file of weights.
    #[error("`{}` holds no weights", folder.display())]
    NoWeights {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder with several files of weights, none of which open_clip prefers.
    #[error("`{}` holds several files of weights: {}", folder.display(), candidates.join(", "))]
    Ambiguous {
        /// The folder.
        folder: PathBuf,
        /// Names of the files.
        candidates: Vec<String>,
    },
    /// A shard that is a link to a place outside of the folder of its index.
    #[error("`{}`: shard `{shard}` is a link that leaves the folder of the index [path-escape]", index.display())]
    ShardEscapes {
        /// The index.
        index: PathBuf,
        /// Name of the shard.
        shard: String,
    },
}

impl CheckpointError {
    /// Stable name of the cause, as [`clipway_formats::Code::name`].
    pub fn code(&self) -> &'static str {
        match self {
            CheckpointError::Io { .. } => "io",
            CheckpointError::Format { cause, .. } => cause.code.name(),
            CheckpointError::NoWeights { .. } => "missing",
            CheckpointError::Ambiguous { .. } => "ambiguous",
            CheckpointError::ShardEscapes { .. } => "path-escape",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            CheckpointError::Ambiguous { folder, candidates } => {
                let first = folder.join(candidates.first()?);
                Some(format!("pass one of the files, such as `{}`", first.display()))
            }
            _ => None,
        }
    }
}
