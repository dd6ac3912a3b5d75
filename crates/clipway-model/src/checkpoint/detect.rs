//! The format of a file, told from its first bytes and never from its name.

use std::io;
use std::path::Path;
use std::sync::Arc;

use clipway_formats::{
    FormatError, NpyFile, NpzFile, PytorchFile, PytorchOptions, ReadAt, SafetensorsFile, TensorFile,
    ZipArchive, is_safetensors, read_range,
};

use super::{CheckpointError, FileSource};

/// Bytes at the start of a file by which formats are told.
const HEAD_BYTES: u64 = 64;

/// What the first bytes of a file say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Safetensors,
    Npy,
    Npz,
    /// JSON, which can only be an index of shards.
    Json,
    /// PyTorch, or nothing that is known: its reader tells.
    Pytorch,
}

/// An opened file of tensors; PyTorch files also hold objects.
#[derive(Clone)]
pub(super) enum Opened {
    Pytorch(Arc<PytorchFile>),
    Other(Arc<dyn TensorFile>),
}

impl Opened {
    pub(super) fn tensors(&self) -> Arc<dyn TensorFile> {
        match self {
            Opened::Pytorch(file) => Arc::<PytorchFile>::clone(file),
            Opened::Other(file) => Arc::clone(file),
        }
    }
}

/// Opens the file at `path`, whatever its name.
pub(super) fn open_source(path: &Path) -> Result<Arc<FileSource>, CheckpointError> {
    FileSource::open(path).map(Arc::new).map_err(|cause| io_error(path, cause))
}

pub(super) fn io_error(path: &Path, cause: io::Error) -> CheckpointError {
    CheckpointError::Io { path: path.to_owned(), cause }
}

/// Tells the format of a file.
pub(super) fn kind_of(source: &Arc<FileSource>) -> Result<Kind, FormatError> {
    let head = read_range(source, 0, source.size().min(HEAD_BYTES))?;
    Ok(match &head[..] {
        head if is_safetensors(head) => Kind::Safetensors,
        [b'P', b'K', ..] => {
            // An archive that cannot be read is PyTorch's reader's to refuse.
            let archive = ZipArchive::open(Arc::clone(source) as Arc<dyn ReadAt>);
            let is_npz = archive.is_ok_and(|archive| {
                !archive.entries().is_empty() && archive.entries().iter().all(|e| e.name().ends_with(".npy"))
            });
            if is_npz { Kind::Npz } else { Kind::Pytorch }
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Kind::Npy,
        head if head.trim_ascii_start().starts_with(b"{") => Kind::Json,
        _ => Kind::Pytorch,
    })
}

/// Opens the tensors of a source of known kind; `None` for JSON, which holds none.
pub(super) fn open_tensors(
    kind: Kind,
    source: Arc<dyn ReadAt>,
    options: PytorchOptions,
) -> Result<Option<Opened>, FormatError> {
    Ok(Some(match kind {
        Kind::Safetensors => Opened::Other(Arc::new(SafetensorsFile::open(source)?)),
        Kind::Pytorch => Opened::Pytorch(Arc::new(PytorchFile::open(source, options)?)),
        Kind::Npy => Opened::Other(Arc::new(NpyFile::open(source)?)),
        Kind::Npz => Opened::Other(Arc::new(NpzFile::open(source)?)),
        Kind::Json => return Ok(None),
    }))
}
