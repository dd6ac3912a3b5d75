//! Opening a safetensors file.

use std::sync::Arc;

use crate::error::{Code, FormatError, Place};
use crate::memory::reserve;
use crate::safetensors::LONGEST_HEADER;
use crate::safetensors::header::Header;
use crate::source::{ReadAt, read_pieces, read_range};
use crate::tensor::{FileFormat, TensorFile, TensorInfo};

/// Bytes before the header: its length as a little-endian integer.
const LENGTH_BYTES: u64 = 8;

/// An open safetensors file. Tensors are in the order of its header, which writers keep in state dict order, not in the
/// order of their bytes.
pub struct SafetensorsFile {
    source: Arc<dyn ReadAt>,
    header: Header,
    /// Where the tensors' bytes start.
    data: u64,
}

impl SafetensorsFile {
    /// Opens a file: reads and checks its whole header.
    ///
    /// # Errors
    /// `Code::Truncated` if the header or the data ends early, `Code::Duplicate` for a duplicate key,
    /// `Code::Unsupported` for an unknown dtype, `Code::TooLarge` over a limit, and `Code::Malformed` for most
    /// contradictions: byte ranges that overlap, leave a hole or do not match their shape.
    pub fn open(source: Arc<dyn ReadAt>) -> Result<SafetensorsFile, FormatError> {
        let length = u64::from_le_bytes(
            read_range(&source, 0, LENGTH_BYTES)?.try_into().expect("8 bytes were asked for and read"),
        );
        if length > LONGEST_HEADER {
            let cause = format!("a header of {length} bytes; the limit is {LONGEST_HEADER}");
            return Err(FormatError::new(Code::TooLarge, Place::Byte(0), cause));
        }
        let data = LENGTH_BYTES + length;
        let header = Header::parse(&read_range(&source, LENGTH_BYTES, length)?, LENGTH_BYTES)?;
        check_ranges(&header, source.size() - data)?;
        Ok(SafetensorsFile { source, header, data })
    }

    /// Offset in the file of the first byte of tensor `index`.
    pub fn offset_of(&self, index: usize) -> u64 {
        self.data + self.header.ranges[index].0
    }
}

/// Checks that the tensors' ranges are contiguous and cover all `length` bytes.
fn check_ranges(header: &Header, length: u64) -> Result<(), FormatError> {
    let mut order: Vec<usize> = (0..header.ranges.len()).collect();
    order.sort_by_key(|&index| header.ranges[index]);
    let mut expected = 0;
    for index in order {
        let (begin, end) = header.ranges[index];
        let refuse = |code, cause| {
            Err(FormatError::new(code, Place::Tensor(header.tensors[index].name.clone()), cause))
        };
        if begin < expected {
            let cause = format!("its bytes {begin} to {end} overlap those before {expected}");
            return refuse(Code::Malformed, cause);
        }
        if begin > expected {
            return refuse(
                Code::Malformed,
                format!("bytes {expected} to {begin} before it belong to no tensor"),
            );
        }
        if end > length {
            let cause = format!(
                "its range is {begin} to {end}, but the file has only {length} bytes after the header"
            );
            return refuse(Code::Truncated, cause);
        }
        expected = end;
    }
    if expected != length {
        let cause = format!("the tensors have {expected} bytes, but the file has {length} after the header");
        return Err(FormatError::new(Code::Malformed, Place::File, cause));
    }
    Ok(())
}

impl TensorFile for SafetensorsFile {
    fn format(&self) -> FileFormat {
        FileFormat::Safetensors
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.header.tensors
    }

    fn read(&self, index: usize, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let (begin, end) = self.header.ranges[index];
        let offset = self.data + begin;
        // The length was checked against the file, and the tensor's against the address space.
        let length = (end - begin) as usize;
        out.clear();
        reserve(out, length, || Place::Tensor(self.header.tensors[index].name.clone()))?;
        out.resize(length, 0);
        self.source.read_exact_at(offset, out).map_err(|error| {
            out.clear();
            FormatError::io(offset, &error)
        })
    }

    fn read_chunks(&self, index: usize, sink: &mut dyn FnMut(&[u8])) -> Result<(), FormatError> {
        let (begin, end) = self.header.ranges[index];
        read_pieces(&self.source, self.data + begin, end - begin, sink)
    }

    fn metadata(&self) -> &[(String, String)] {
        &self.header.metadata
    }
}
