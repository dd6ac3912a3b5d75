//! Shards of an index: finding them, and keeping them inside their folder.

use std::io;
use std::sync::Arc;

use clipway_formats::{
    Code, FormatError, Place, PytorchOptions, ReadAt, ShardedFile, ShardedIndex, TensorFile, read_all, shown,
};

use super::detect::{Opened, kind_of, open_tensors};
use super::{CheckpointError, FileSource};
use crate::input::{self, Folder, InputError};

/// An index with its shards, opened.
pub(super) struct Sharded {
    pub(super) tensors: Arc<dyn TensorFile>,
    /// Each shard, in the order of the index.
    pub(super) shards: Vec<Opened>,
    /// The index and then each shard.
    pub(super) sources: Vec<Arc<FileSource>>,
}

/// Opens the shards that an index names.
pub(super) fn open_shards(
    index_source: Arc<FileSource>,
    folder: &Folder,
    options: PytorchOptions,
) -> Result<Sharded, CheckpointError> {
    let path = index_source.path().to_owned();
    let refuse = |cause: FormatError| CheckpointError::Format { path: path.clone(), cause };
    let bytes = read_all(&index_source, input::Kind::Index.limit()).map_err(refuse)?;
    let index = ShardedIndex::parse(&bytes).map_err(refuse)?;
    let mut sources = vec![index_source];
    let mut shards = Vec::new();
    let mut files: Vec<(String, Arc<dyn TensorFile>)> = Vec::new();
    for name in index.shards() {
        let source = folder.file(name, input::Kind::Weights).map(Arc::new).map_err(|error| match error {
            InputError::Escapes { .. } => {
                CheckpointError::ShardEscapes { index: path.clone(), shard: shown(name) }
            }
            other => refuse(unreadable(&other).in_shard(name)),
        })?;
        let refuse = |cause: FormatError| refuse(cause.in_shard(name));
        let kind = kind_of(&source).map_err(refuse)?;
        let opened = open_tensors(kind, Arc::clone(&source) as Arc<dyn ReadAt>, options).map_err(refuse)?;
        let Some(opened) = opened else {
            let cause = "expected a shard, found another index";
            return Err(refuse(FormatError::new(Code::Malformed, Place::File, cause)));
        };
        files.push((name.clone(), opened.tensors()));
        shards.push(opened);
        sources.push(source);
    }
    let tensors = Arc::new(ShardedFile::new(&index, files).map_err(refuse)?);
    Ok(Sharded { tensors, shards, sources })
}

/// The error of a shard that cannot be opened. A missing or wrong file is the checkpoint's fault; a failure of the
/// system is not.
pub(super) fn unreadable(error: &InputError) -> FormatError {
    let (code, cause) = match error {
        InputError::Io { cause, .. } => match cause.kind() {
            io::ErrorKind::NotFound => (Code::Missing, cause.to_string()),
            _ if error.is_passing() => (Code::Io, cause.to_string()),
            _ => (Code::Malformed, cause.to_string()),
        },
        InputError::TooLarge { .. } | InputError::Endless { .. } => (Code::TooLarge, error.why()),
        other => (Code::Malformed, other.why()),
    };
    FormatError::new(code, Place::File, cause)
}
