//! Detection of a file's format from its first bytes, never from its name.

use std::sync::Arc;

use clipway_formats::{
    FormatError, NpyFile, NpzFile, PytorchFile, PytorchOptions, ReadAt, SafetensorsFile, TensorFile,
    ZipArchive, is_safetensors, read_range,
};

use crate::input::FileSource;

/// Number of leading bytes used to detect the format.
const HEAD_BYTES: u64 = 64;

/// Format according to the first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Safetensors,
    Npy,
    Npz,
    /// JSON, which can only be a shard index.
    Json,
    /// PyTorch or an unknown format: the PyTorch reader decides.
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

/// The first bytes of a file.
pub(super) fn head_of(source: &FileSource) -> Result<Vec<u8>, FormatError> {
    read_range(source, 0, source.size().min(HEAD_BYTES))
}

/// Detects the format of a file.
pub(super) fn kind_of(source: &Arc<FileSource>) -> Result<Stored, FormatError> {
    let head = head_of(source)?;
    Ok(match &head[..] {
        head if is_safetensors(head) => Stored::Safetensors,
        [b'P', b'K', ..] => {
            // An unreadable archive is left to the PyTorch reader to refuse.
            let archive = ZipArchive::open(Arc::clone(source) as Arc<dyn ReadAt>);
            let is_npz = archive.is_ok_and(|archive| {
                !archive.entries().is_empty() && archive.entries().iter().all(|e| e.name().ends_with(".npy"))
            });
            if is_npz { Stored::Npz } else { Stored::Pytorch }
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Stored::Npy,
        head if head.trim_ascii_start().starts_with(b"{") => Stored::Json,
        _ => Stored::Pytorch,
    })
}

/// Opens the tensors of a source of known format; `None` for JSON, which has none.
pub(super) fn open_tensors(
    kind: Stored,
    source: Arc<dyn ReadAt>,
    options: PytorchOptions,
) -> Result<Option<Opened>, FormatError> {
    Ok(Some(match kind {
        Stored::Safetensors => Opened::Other(Arc::new(SafetensorsFile::open(source)?)),
        Stored::Pytorch => Opened::Pytorch(Arc::new(PytorchFile::open(source, options)?)),
        Stored::Npy => Opened::Other(Arc::new(NpyFile::open(source)?)),
        Stored::Npz => Opened::Other(Arc::new(NpzFile::open(source)?)),
        Stored::Json => return Ok(None),
    }))
}
