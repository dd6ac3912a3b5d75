//! Named tensors of an open file.

use crate::dtype::Dtype;
use crate::error::FormatError;

/// File format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileFormat {
    /// safetensors.
    Safetensors,
    /// PyTorch, zip archive (since 1.6).
    PytorchZip,
    /// PyTorch, stream of pickles (before 1.6).
    PytorchLegacy,
    /// PyTorch, tar archive (before 0.1.10).
    PytorchTar,
    /// PyTorch, distributed checkpoint of several files.
    PytorchDistributed,
    /// TorchScript archive, read as an archive of tensors.
    TorchScript,
    /// A single pickle with embedded tensors.
    Pickle,
    /// One numpy array.
    Npy,
    /// Numpy arrays in a zip archive.
    Npz,
    /// ONNX model.
    Onnx,
}

impl FileFormat {
    /// Name for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            FileFormat::Safetensors => "safetensors",
            FileFormat::PytorchZip => "PyTorch zip",
            FileFormat::PytorchLegacy => "PyTorch legacy",
            FileFormat::PytorchTar => "PyTorch tar",
            FileFormat::PytorchDistributed => "PyTorch distributed",
            FileFormat::TorchScript => "TorchScript",
            FileFormat::Pickle => "pickle",
            FileFormat::Npy => "npy",
            FileFormat::Npz => "npz",
            FileFormat::Onnx => "ONNX",
        }
    }
}

/// Name, dtype and shape of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Full name as stored; nested dictionaries are joined with `.`.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Shape, outermost dimension first; empty for a scalar.
    pub shape: Vec<usize>,
}

impl TensorInfo {
    /// Number of elements, checked for overflow by the readers.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Size of the contiguous tensor in bytes, checked for overflow by the readers.
    pub fn bytes(&self) -> usize {
        self.elements() * self.dtype.size()
    }
}

/// An open file of named tensors. Opening it read names, dtypes and shapes, but no weights.
pub trait TensorFile: Send + Sync {
    /// Format of the file.
    fn format(&self) -> FileFormat;

    /// The tensors, in file order.
    fn tensors(&self) -> &[TensorInfo];

    /// Reads tensor `index` into `out` (cleared first) as contiguous, row-major, little-endian bytes.
    ///
    /// # Errors
    /// Damaged data: an early end of file, a checksum.
    fn read(&self, index: usize, out: &mut Vec<u8>) -> Result<(), FormatError>;

    /// Passes the same bytes as [`read`](TensorFile::read) to `sink`, in order, in pieces of whole elements: small ones
    /// (at most 4 MiB) if the tensor is stored contiguously, otherwise all at once. A wrong checksum is detected, and
    /// returned, only after the last piece.
    ///
    /// # Errors
    /// The errors of [`read`](TensorFile::read).
    fn read_chunks(&self, index: usize, sink: &mut dyn FnMut(&[u8])) -> Result<(), FormatError> {
        read_at_once(self, index, sink)
    }

    /// Text stored beside the tensors, such as safetensors' `__metadata__`, in file order.
    fn metadata(&self) -> &[(String, String)] {
        &[]
    }
}

/// Passes a whole tensor to `sink` as one piece, as [`TensorFile::read_chunks`] does for files that store tensors in another order.
///
/// # Errors
/// The errors of [`TensorFile::read`].
pub fn read_at_once<F: TensorFile + ?Sized>(
    file: &F,
    index: usize,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), FormatError> {
    let mut bytes = Vec::new();
    file.read(index, &mut bytes)?;
    sink(&bytes);
    Ok(())
}
