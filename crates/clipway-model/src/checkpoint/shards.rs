//! Shards of an index: where they are, and that they stay there.

use std::io;
use std::path::Path;
use std::sync::Arc;

use clipway_formats::{
    Code, FormatError, Place, PytorchOptions, ReadAt, ShardedFile, ShardedIndex, TensorFile, read_all, shown,
};

use super::detect::{Opened, io_error, kind_of, open_tensors};
use super::{CheckpointError, FileSource};

/// Most bytes of an index.
const LARGEST_INDEX: u64 = 64 << 20;

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
    options: PytorchOptions,
) -> Result<Sharded, CheckpointError> {
    let path = index_source.path().to_owned();
    let refuse = |cause: FormatError| CheckpointError::Format { path: path.clone(), cause };
    let bytes = read_all(&index_source, LARGEST_INDEX).map_err(refuse)?;
    let index = ShardedIndex::parse(&bytes).map_err(refuse)?;
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let folder = folder.canonicalize().map_err(|cause| io_error(folder, cause))?;
    let mut sources = vec![index_source];
    let mut shards = Vec::new();
    let mut files: Vec<(String, Arc<dyn TensorFile>)> = Vec::new();
    for name in index.shards() {
        let absent = |cause: io::Error| refuse(unreadable(&cause).in_shard(name));
        let target = path.with_file_name(name).canonicalize().map_err(absent)?;
        if !stays_inside(&folder, &target) {
            return Err(CheckpointError::ShardEscapes { index: path, shard: shown(name) });
        }
        // The checked file itself is opened, so that a link that changes in between leads nowhere else.
        let source = FileSource::open(&target).map(Arc::new).map_err(absent)?;
        let refuse = |cause: FormatError| refuse(cause.in_shard(name));
        let kind = kind_of(&source).map_err(refuse)?;
        let opened = open_tensors(kind, Arc::clone(&source) as Arc<dyn ReadAt>, options).map_err(refuse)?;
        let Some(opened) = opened else {
            let cause = "an index where a shard is expected";
            return Err(refuse(FormatError::new(Code::Malformed, Place::File, cause)));
        };
        files.push((name.clone(), opened.tensors()));
        shards.push(opened);
        sources.push(source);
    }
    let tensors = Arc::new(ShardedFile::new(&index, files).map_err(refuse)?);
    Ok(Sharded { tensors, shards, sources })
}

/// The error of a shard that the system does not open. What is at its place, or is not, is the checkpoint's fault;
/// whether it may be read is not.
fn unreadable(error: &io::Error) -> FormatError {
    let code = match error.kind() {
        io::ErrorKind::NotFound => Code::Missing,
        io::ErrorKind::PermissionDenied | io::ErrorKind::Interrupted => Code::Io,
        _ => Code::Malformed,
    };
    FormatError::new(code, Place::File, error.to_string())
}

/// Whether a file lies below the folder, or in the `blobs` of the Hub cache that the folder is a snapshot of:
/// `cache/snapshots/REVISION/…` or, of older tools, `cache/SNAPSHOT`, beside `cache/blobs`.
fn stays_inside(folder: &Path, target: &Path) -> bool {
    if target.starts_with(folder) {
        return true;
    }
    let Some(blobs) = target.parent().filter(|parent| parent.ends_with("blobs")) else { return false };
    let is_cache = |snapshot: &Path| snapshot.parent().is_some_and(|cache| Some(cache) == blobs.parent());
    is_cache(folder) || folder.ancestors().any(|above| above.ends_with("snapshots") && is_cache(above))
}
