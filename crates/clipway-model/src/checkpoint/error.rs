//! Why a source cannot be opened.

use std::path::PathBuf;

use clipway_formats::{FormatError, shown_path};

use super::{AdapterError, Program};
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
    #[error("`{}` contains no weights{}", shown_path(folder), but(inside))]
    NoWeights {
        /// The folder.
        folder: PathBuf,
        /// Folders in it that contain weights.
        inside: Vec<String>,
    },
    /// A folder with weights of another program only.
    #[error("`{}` contains weights for {program} only (`{file}`), which are not read", shown_path(folder))]
    OtherProgram {
        /// The folder.
        folder: PathBuf,
        /// The file, escaped and shortened.
        file: String,
        /// The program.
        program: Program,
    },
    /// A file, or a folder that is one model, of another program.
    #[error("`{}` is a model file for {program}, which is not read", shown_path(path))]
    OtherFile {
        /// The file or folder.
        path: PathBuf,
        /// The program.
        program: Program,
    },
    /// A compressed or joined folder.
    #[error("`{}` is an archive file with other files in it, and not a checkpoint", shown_path(path))]
    Packed {
        /// The archive.
        path: PathBuf,
    },
    /// A step of DeepSpeed in its universal form, which has a file for each tensor.
    #[error(
        "`{}` is a universal checkpoint of DeepSpeed, with one file for each tensor, which is not read",
        shown_path(folder)
    )]
    Universal {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder of sentence-transformers whose modules are no CLIP.
    #[error("`{}` is a sentence-transformers model of {}, with no CLIPModel among them", shown_path(folder), kinds.join(", "))]
    Modules {
        /// The folder.
        folder: PathBuf,
        /// Kinds of its modules.
        kinds: Vec<String>,
    },
    /// One file of PyTorch's distributed checkpoint, which says nothing without its `.metadata`.
    #[error("`{}` is one part of a distributed checkpoint of PyTorch", shown_path(path))]
    DistributedPart {
        /// The file.
        path: PathBuf,
    },
    /// A folder with parts of PyTorch's distributed checkpoint, without its `.metadata`.
    #[error(
        "`{}` contains parts of a distributed checkpoint of PyTorch (`.distcp`), but no `.metadata`",
        shown_path(folder)
    )]
    NoMetadata {
        /// The folder.
        folder: PathBuf,
    },
    /// One process's part of a model that DeepSpeed's ZeRO-3 trained.
    #[error(
        "`{}` is one process's part of a DeepSpeed ZeRO-3 checkpoint, without whole weights",
        shown_path(path)
    )]
    InParts {
        /// The file.
        path: PathBuf,
    },
    /// An adapter that cannot be merged.
    #[error("`{}`: {cause}", shown_path(path))]
    Adapter {
        /// The file of weights.
        path: PathBuf,
        /// What is wrong.
        cause: AdapterError,
    },
    /// A folder with shards, without the index that says which tensors they hold.
    #[error("`{}` contains shards of weights (`{shard}`), but no index of them", shown_path(folder))]
    NoIndex {
        /// The folder.
        folder: PathBuf,
        /// Name of a shard.
        shard: String,
    },
    /// Several folders, each of which could hold the weights.
    #[error("`{}` contains several models: {}", shown_path(folder), candidates.join(", "))]
    SeveralFolders {
        /// The folder.
        folder: PathBuf,
        /// Paths of the folders in it.
        candidates: Vec<String>,
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

/// Which folders inside hold weights.
fn but(inside: &[String]) -> String {
    match inside {
        [] => String::new(),
        [one] => format!("; its folder `{one}` does"),
        several => format!("; its folders `{}` do", several.join("`, `")),
    }
}

impl CheckpointError {
    /// The candidate that is most likely wanted: the newest of several checkpoints, or of several folders with weights.
    pub fn proposed(&self) -> Option<PathBuf> {
        match self {
            CheckpointError::Ambiguous { folder, candidates }
            | CheckpointError::SeveralFolders { folder, candidates }
            | CheckpointError::NoWeights { folder, inside: candidates } => {
                super::folder::newest(folder, candidates).map(|name| folder.join(name))
            }
            _ => None,
        }
    }

    /// Stable code of the error, as in [`clipway_formats::Code::name`].
    pub fn code(&self) -> &'static str {
        match self {
            CheckpointError::Input(error) => error.code(),
            CheckpointError::Artifact(error) => error.code(),
            CheckpointError::Format { cause, .. } => cause.code.name(),
            CheckpointError::Adapter { cause, .. } => cause.code(),
            CheckpointError::NoWeights { .. }
            | CheckpointError::NoMetadata { .. }
            | CheckpointError::NoIndex { .. } => "missing",
            CheckpointError::Ambiguous { .. } | CheckpointError::SeveralFolders { .. } => "ambiguous",
            CheckpointError::OtherProgram { .. }
            | CheckpointError::OtherFile { .. }
            | CheckpointError::Packed { .. }
            | CheckpointError::Universal { .. }
            | CheckpointError::Modules { .. }
            | CheckpointError::DistributedPart { .. }
            | CheckpointError::InParts { .. } => "unsupported",
            CheckpointError::ShardEscapes { .. } => "path-escape",
        }
    }
}
