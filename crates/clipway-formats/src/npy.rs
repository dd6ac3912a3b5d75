//! npy: one numpy array, with a header that is a Python dictionary literal.
//!
//! Follows numpy's own description of the format (NEP 1 and `numpy.lib.format`). The header is parsed by a grammar that
//! knows only the three entries; it is never evaluated. Object arrays, which are pickles, are refused.

mod header;

use std::sync::Arc;

use crate::error::{Code, FormatError, Place};
use crate::memory::reserve;
use crate::shape::shown_shape;
use crate::source::{ReadAt, read_pieces, read_range};
use crate::tensor::{FileFormat, TensorFile, TensorInfo, read_at_once};

pub(crate) use header::ArrayHeader;

/// What a written npy file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NpyValues {
    /// 16-bit floats.
    F16,
    /// 32-bit floats.
    F32,
}

/// The bytes before the values of a matrix in version 1.0 of the format; the values follow row by row, little-endian.
pub fn npy_header(values: NpyValues, rows: u64, width: usize) -> Vec<u8> {
    let descr = match values {
        NpyValues::F16 => "<f2",
        NpyValues::F32 => "<f4",
    };
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {width}), }}");
    // The values start at a multiple of 64 bytes, after 10 bytes, the text and a line end. The text has less than 200.
    let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend((length as u16).to_le_bytes());
    header.extend(format!("{text:<padded$}\n", padded = length - 1).bytes());
    header
}

/// An open npy file: one tensor with an empty name.
pub struct NpyFile {
    source: Arc<dyn ReadAt>,
    header: ArrayHeader,
    tensors: [TensorInfo; 1],
}

impl NpyFile {
    /// Opens a file: reads and checks its whole header.
    ///
    /// # Errors
    /// `Code::UnknownFormat` without npy's first bytes, `Code::UnsafePickle` for an object array, `Code::Unsupported`
    /// for another dtype or version, `Code::Truncated` if the file ends early, and `Code::Malformed` for most other
    /// problems.
    pub fn open(source: Arc<dyn ReadAt>) -> Result<NpyFile, FormatError> {
        let header = ArrayHeader::read(&source)?;
        header.check_end(source.size())?;
        let tensors = [header.info(String::new())];
        Ok(NpyFile { source, header, tensors })
    }
}

impl ArrayHeader {
    /// Checks that the array ends at the end of the file, at `size` bytes.
    pub(crate) fn check_end(&self, size: u64) -> Result<(), FormatError> {
        let (expected, found) = (self.data_bytes(), size - self.data_offset);
        if expected == found {
            return Ok(());
        }
        let code = if found < expected { Code::Truncated } else { Code::Malformed };
        let cause =
            format!("{} {} has {expected} bytes, but {found} follow", self.dtype, shown_shape(&self.shape));
        Err(FormatError::new(code, Place::Byte(self.data_offset), cause))
    }

    /// Name, dtype and shape.
    pub(crate) fn info(&self, name: String) -> TensorInfo {
        TensorInfo { name, dtype: self.dtype, shape: self.shape.clone() }
    }

    /// Whether its bytes are stored row-major and little-endian.
    fn is_arranged(&self) -> bool {
        !self.big_endian && !self.column_major
    }

    /// Converts the array's stored bytes to row-major little-endian.
    ///
    /// # Errors
    /// `Code::NoMemory`.
    pub(crate) fn arrange(&self, mut stored: Vec<u8>) -> Result<Vec<u8>, FormatError> {
        let size = self.dtype.size();
        if self.big_endian {
            stored.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        if self.column_major { rows_of_columns(&stored, &self.shape, size) } else { Ok(stored) }
    }
}

/// Reorders a column-major array to row-major.
fn rows_of_columns(stored: &[u8], shape: &[usize], size: usize) -> Result<Vec<u8>, FormatError> {
    let mut out = Vec::new();
    reserve(&mut out, stored.len(), || Place::File)?;
    let mut indices = vec![0; shape.len()];
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = size;
    for &length in shape {
        strides.push(stride);
        stride *= length.max(1);
    }
    let mut position = 0;
    while out.len() < stored.len() {
        out.extend_from_slice(&stored[position..position + size]);
        for axis in (0..shape.len()).rev() {
            indices[axis] += 1;
            position += strides[axis];
            if indices[axis] < shape[axis] {
                break;
            }
            position -= strides[axis] * shape[axis];
            indices[axis] = 0;
        }
    }
    Ok(out)
}

impl TensorFile for NpyFile {
    fn format(&self) -> FileFormat {
        FileFormat::Npy
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn read(&self, _index: usize, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let stored = read_range(&self.source, self.header.data_offset, self.header.data_bytes())?;
        *out = self.header.arrange(stored)?;
        Ok(())
    }

    fn read_chunks(&self, index: usize, sink: &mut dyn FnMut(&[u8])) -> Result<(), FormatError> {
        if self.header.is_arranged() {
            return read_pieces(&self.source, self.header.data_offset, self.header.data_bytes(), sink);
        }
        read_at_once(self, index, sink)
    }
}
