//! Opening a safetensors file.

use std::sync::Arc;

use crate::error::{Code, FormatError, Place};
use crate::safetensors::LONGEST_HEADER;
use crate::safetensors::header::Header;
use crate::source::{ReadAt, read_range};
use crate::tensor::{FileFormat, TensorFile, TensorInfo};

/// Bytes before the header: its length as a little-endian integer.
const LENGTH_BYTES: u64 = 8;

/// Bytes of a piece in which a tensor is handed on; a multiple of every element size.
const CHUNK_BYTES: usize = 1 << 20;

/// An opened safetensors file. Tensors are in the order of its header, which writers keep in the order of the
/// state dict, and not in the order of their bytes.
pub struct SafetensorsFile {
    source: Arc<dyn ReadAt>,
    header: Header,
    /// Where the bytes of the tensors begin.
    data: u64,
}

impl SafetensorsFile {
    /// Opens a file: reads its header and checks it wholly.
    ///
    /// # Errors
    /// `Code::Truncated` if the header or the bytes end early, `Code::Duplicate` for a key that comes twice,
    /// `Code::Unsupported` for an unknown dtype, `Code::TooLarge` past a limit, and mostly `Code::Malformed`
    /// for what contradicts itself: byte ranges that overlap, leave a hole or do not fit their shape.
    pub fn open(source: Arc<dyn ReadAt>) -> Result<SafetensorsFile, FormatError> {
        let length = u64::from_le_bytes(
            read_range(&source, 0, LENGTH_BYTES)?.try_into().expect("8 bytes were asked for and read"),
        );
        if length > LONGEST_HEADER {
            let cause = format!("a header of {length} bytes; at most {LONGEST_HEADER} are read");
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

/// Checks that the ranges of the tensors are one after the other, and together all `length` bytes.
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
            let cause = format!("its bytes are {begin} to {end}, but the file has {length} after the header");
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
        // The length was checked against the file, and a tensor of it against the address space.
        out.resize((end - begin) as usize, 0);
        self.source.read_exact_at(offset, out).map_err(|error| {
            out.clear();
            FormatError::io(offset, &error)
        })
    }

    fn read_chunks(&self, index: usize, sink: &mut dyn FnMut(&[u8])) -> Result<(), FormatError> {
        let (begin, end) = self.header.ranges[index];
        let mut piece = Vec::new();
        let mut offset = begin;
        while offset < end {
            piece.resize(CHUNK_BYTES.min((end - offset) as usize), 0);
            let place = self.data + offset;
            self.source.read_exact_at(place, &mut piece).map_err(|error| FormatError::io(place, &error))?;
            sink(&piece);
            offset += piece.len() as u64;
        }
        Ok(())
    }

    fn metadata(&self) -> &[(String, String)] {
        &self.header.metadata
    }
}
