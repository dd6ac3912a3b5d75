//! The weights of a checkpoint: ordered names with dtypes, shapes and lazily read bytes.

mod select;
mod values;
mod wrapped;

pub(crate) use select::is_averaged;
pub use select::{LeftOut, LeftOutKind, SelectError, Selection, Weights, WeightsChoice};
pub use values::cast_to_f32;
pub(crate) use values::{F16_OVERFLOW, cast_from_f32, count_beyond};

use std::collections::HashMap;
use std::sync::Arc;

use clipway_formats::{Dtype, FileFormat, FormatError, Place, TensorFile, TensorInfo, reserve};

/// Tensors by name. Names, dtypes and shapes are known; bytes are read on request.
#[derive(Clone)]
pub struct StateDict {
    file: Arc<dyn TensorFile>,
    tensors: Vec<TensorInfo>,
    /// Index in the file of each tensor.
    stored: Vec<usize>,
    by_name: HashMap<String, usize>,
}

impl StateDict {
    /// Every tensor of a file under its own name.
    pub fn of_file(file: Arc<dyn TensorFile>) -> StateDict {
        let all = file.tensors().iter().map(|tensor| tensor.name.clone()).enumerate().collect();
        StateDict::of_part(file, all)
    }

    /// The tensors of a file at these indices, under these names.
    fn of_part(file: Arc<dyn TensorFile>, part: Vec<(usize, String)>) -> StateDict {
        let stored = part.iter().map(|(index, _)| *index).collect();
        let infos =
            part.into_iter().map(|(index, name)| TensorInfo { name, ..file.tensors()[index].clone() });
        let tensors: Vec<TensorInfo> = infos.collect();
        let by_name = tensors.iter().enumerate().map(|(i, info)| (info.name.clone(), i)).collect();
        StateDict { stored, file, tensors, by_name }
    }

    /// The tensors below a prefix, under names without it.
    pub(crate) fn under(&self, prefix: &str) -> StateDict {
        let named = self.tensors.iter().zip(&self.stored);
        let part = named
            .filter_map(|(tensor, &stored)| Some((stored, wrapped::below(&tensor.name, prefix)?)))
            .collect();
        StateDict::of_part(Arc::clone(&self.file), part)
    }

    /// Format of the file.
    pub fn format(&self) -> FileFormat {
        self.file.format()
    }

    /// The tensors, in file order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// Index of a name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Name and shape of a tensor, if it exists.
    pub fn get(&self, name: &str) -> Option<&TensorInfo> {
        self.find(name).map(|index| &self.tensors[index])
    }

    /// Index in its file of tensor `index`.
    pub(crate) fn stored_index(&self, index: usize) -> usize {
        self.stored[index]
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> u64 {
        self.tensors.iter().map(|info| info.bytes() as u64).sum()
    }

    /// Reads tensor `index` into `out` (cleared first) as contiguous little-endian bytes.
    ///
    /// # Errors
    /// Damaged bytes: an early end of file, a checksum.
    pub fn read_bytes(&self, index: usize, out: &mut Vec<u8>) -> Result<(), FormatError> {
        self.file.read(self.stored[index], out)
    }

    /// Passes the bytes of tensor `index` to `sink` in pieces of whole elements; see [`TensorFile::read_chunks`].
    ///
    /// # Errors
    /// The errors of [`StateDict::read_bytes`].
    pub fn read_chunks(&self, index: usize, sink: &mut dyn FnMut(&[u8])) -> Result<(), FormatError> {
        self.file.read_chunks(self.stored[index], sink)
    }

    /// Reads tensor `index` as f32, whatever its dtype; `out` is cleared first. Integers and f64 are rounded to the
    /// nearest f32.
    ///
    /// # Errors
    /// The errors of [`StateDict::read_bytes`].
    pub fn read_f32(&self, index: usize, out: &mut Vec<f32>) -> Result<(), FormatError> {
        let info = &self.tensors[index];
        out.clear();
        reserve(out, info.elements(), || Place::Tensor(info.name.clone()))?;
        self.read_chunks(index, &mut |piece| {
            let start = out.len();
            out.resize(start + piece.len() / info.dtype.size(), 0.0);
            cast_to_f32(info.dtype, piece, &mut out[start..]);
        })
    }

    /// Reads the first number of tensor `index`, rounded to f64.
    ///
    /// # Errors
    /// The errors of [`StateDict::read_bytes`].
    ///
    /// # Panics
    /// If the tensor has no elements.
    pub fn read_number(&self, index: usize) -> Result<f64, FormatError> {
        let mut bytes = Vec::new();
        self.read_bytes(index, &mut bytes)?;
        let dtype = self.tensors[index].dtype;
        let number: &[u8] = &bytes[..dtype.size()];
        Ok(match (dtype, number.try_into()) {
            (Dtype::F64, Ok(bytes)) => f64::from_le_bytes(bytes),
            (Dtype::I64, Ok(bytes)) => i64::from_le_bytes(bytes) as f64,
            (Dtype::U64, Ok(bytes)) => u64::from_le_bytes(bytes) as f64,
            _ => {
                let mut value = [0.0];
                cast_to_f32(dtype, number, &mut value);
                f64::from(value[0])
            }
        })
    }
}

impl std::fmt::Debug for StateDict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateDict").field("tensors", &self.tensors).finish_non_exhaustive()
    }
}
