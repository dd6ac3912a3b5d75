//! Named tensors of an opened file.

use crate::dtype::Dtype;
use crate::error::FormatError;

/// Kind of a file that holds tensors.
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
    /// TorchScript archive, read as an archive of tensors.
    TorchScript,
    /// One pickle, its tensors inside it.
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
    /// Lengths of the dimensions, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
}

impl TensorInfo {
    /// Number of elements. Readers have checked that it does not overflow.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of the contiguous tensor. Readers have checked that it does not overflow.
    pub fn bytes(&self) -> usize {
        self.elements() * self.dtype.size()
    }
}

/// An opened file of named tensors. Opening read names, dtypes and shapes; no weight has been read yet.
pub trait TensorFile: Send + Sync {
    /// Kind of the file.
    fn format(&self) -> FileFormat;

    /// The tensors, in the order of the file.
    fn tensors(&self) -> &[TensorInfo];

    /// Reads tensor `index` into `out` (cleared first) as contiguous, row-major, little-endian bytes.
    ///
    /// # Errors
    /// What is wrong with the bytes: the end of the file, a checksum.
    fn read(&self, index: usize, out: &mut Vec<u8>) -> Result<(), FormatError>;

    /// Hands the bytes that [`read`](TensorFile::read) gives to `sink`, in order, in pieces of whole elements:
    /// small ones (at most 4 MiB) where the tensor is stored contiguously, else all at once. What a checksum
    /// finds wrong is known, and is the result, only after the last piece.
    ///
    /// # Errors
    /// As [`read`](TensorFile::read).
    fn read_chunks(&self, index: usize, sink: &mut dyn FnMut(&[u8])) -> Result<(), FormatError> {
        let mut bytes = Vec::new();
        self.read(index, &mut bytes)?;
        sink(&bytes);
        Ok(())
    }

    /// Text the file carries beside its tensors, such as safetensors' `__metadata__`, in the order of the file.
    fn metadata(&self) -> &[(String, String)] {
        &[]
    }
}
