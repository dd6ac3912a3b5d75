//! Distributed checkpoints of PyTorch: a folder with a `.metadata`, and the files that it names.

use std::sync::Arc;

use clipway_formats::{DistributedFile, DistributedIndex, FormatError, PytorchOptions, ReadAt};

use super::{CheckpointError, FileSource};
use crate::input::{self, Folder, InputError};

/// The file in which a distributed checkpoint describes itself.
pub(super) const METADATA: &str = ".metadata";

/// End of the names of the files with its weights.
pub(super) const PART: &str = ".distcp";

/// A distributed checkpoint, opened.
pub(super) struct Distributed {
    pub(super) index: DistributedIndex,
    pub(super) tensors: Arc<DistributedFile>,
    /// The `.metadata` and then each file that it names.
    pub(super) sources: Vec<Arc<FileSource>>,
}

/// Opens the files that a `.metadata` names.
pub(super) fn open_distributed(
    metadata: Arc<FileSource>,
    folder: &Folder,
    options: PytorchOptions,
) -> Result<Distributed, CheckpointError> {
    let path = metadata.path().to_owned();
    let refuse = |cause: FormatError| CheckpointError::Format { path: path.clone(), cause };
    let index = DistributedIndex::open(Arc::clone(&metadata) as Arc<dyn ReadAt>, options).map_err(refuse)?;
    let mut sources = vec![metadata];
    let mut files: Vec<Arc<dyn ReadAt>> = Vec::new();
    for name in index.files() {
        let source = folder.file(name, input::Kind::Weights).map_err(|error| match error {
            InputError::Escapes { .. } => error.into(),
            other => refuse(super::shards::unreadable(&other).in_shard(name)),
        })?;
        let source = Arc::new(source);
        files.push(Arc::clone(&source) as Arc<dyn ReadAt>);
        sources.push(source);
    }
    let tensors = Arc::new(DistributedFile::new(&index, files, options).map_err(refuse)?);
    Ok(Distributed { index, tensors, sources })
}
