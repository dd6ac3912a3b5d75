//! The bytes of tensors: contiguous, row-major and little-endian, however they are stored.

use super::PytorchFile;
use super::tensor::{Data, StorageSpec, TensorSpec};
use crate::error::{Code, FormatError, Place};
use crate::memory::reserve;
use crate::source::ReadAt;

/// Number of bytes read and passed on at once; a whole number of elements of every type.
const CHUNK: u64 = 1 << 20;

impl PytorchFile {
    /// Reads a tensor into `out`, which is cleared first.
    pub(super) fn read_tensor(&self, spec: &TensorSpec, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let size = spec.dtype.size();
        let start = spec.start * size as u64;
        let storage = &self.storages[spec.storage as usize];
        self.read_storage(storage, start, spec.span() * size as u64, out)?;
        if !spec.is_contiguous() {
            *out = gather(out, spec)?;
        }
        if self.big_endian {
            swap(out, size);
        }
        Ok(())
    }

    /// Passes a tensor to `sink` in pieces; returns `false`, and passes nothing, if it is not available in pieces.
    pub(super) fn stream_tensor(
        &self,
        spec: &TensorSpec,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, FormatError> {
        if self.big_endian || !spec.is_contiguous() {
            return Ok(false);
        }
        let size = spec.dtype.size() as u64;
        let (start, length) = (spec.start * size, spec.span() * size);
        let storage = &self.storages[spec.storage as usize];
        if let (Some(archive), Data::Entry(index)) = (&self.archive, storage.data) {
            if start != 0 || length != storage.bytes() {
                return Ok(false);
            }
            return archive.read_pieces(index, sink);
        }
        let mut buffer = Vec::new();
        let mut done = 0;
        while done < length {
            let piece = (length - done).min(CHUNK);
            self.read_storage(storage, start + done, piece, &mut buffer)?;
            sink(&buffer);
            done += piece;
        }
        Ok(true)
    }

    fn read_storage(
        &self,
        storage: &StorageSpec,
        start: u64,
        length: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), FormatError> {
        match (storage.data, &self.archive) {
            (Data::Entry(index), Some(archive)) => match self.inflated.get(archive, index)? {
                Some(content) => {
                    out.clear();
                    reserve(out, length as usize, || Place::File)?;
                    // Where a tensor lies in its storage, and the size of its entry, were checked on opening.
                    out.extend_from_slice(&content[start as usize..(start + length) as usize]);
                    Ok(())
                }
                None => archive.read_range(index, start, length, out),
            },
            (Data::Offset(offset), _) => read_at(self.source.as_ref(), offset + start, length, out),
            _ => {
                let cause = format!("storage `{}` has no bytes", storage.key);
                Err(FormatError::new(Code::Missing, Place::File, cause))
            }
        }
    }
}

fn read_at(source: &dyn ReadAt, offset: u64, length: u64, out: &mut Vec<u8>) -> Result<(), FormatError> {
    out.clear();
    if offset.checked_add(length).is_none_or(|end| end > source.size()) {
        return Err(FormatError::new(Code::Truncated, Place::Byte(offset), "the file was truncated"));
    }
    reserve(out, length as usize, || Place::Byte(offset))?;
    let mut done = 0;
    while done < length {
        let piece = (length - done).min(CHUNK);
        let from = out.len();
        out.resize(from + piece as usize, 0);
        source
            .read_exact_at(offset + done, &mut out[from..])
            .map_err(|error| FormatError::io(offset + done, &error))?;
        done += piece;
    }
    Ok(())
}

/// Copies the elements of a strided tensor, starting at the first of `bytes`, into row-major order.
fn gather(bytes: &[u8], spec: &TensorSpec) -> Result<Vec<u8>, FormatError> {
    match spec.dtype.size() {
        1 => gather_elements::<1>(bytes, spec),
        2 => gather_elements::<2>(bytes, spec),
        4 => gather_elements::<4>(bytes, spec),
        _ => gather_elements::<8>(bytes, spec),
    }
}

fn gather_elements<const SIZE: usize>(bytes: &[u8], spec: &TensorSpec) -> Result<Vec<u8>, FormatError> {
    let (elements, _) = bytes.as_chunks::<SIZE>();
    let mut out: Vec<u8> = Vec::new();
    reserve(&mut out, spec.shape.iter().product::<usize>() * SIZE, || Place::File)?;
    let (Some(&inner), Some(&step)) = (spec.shape.last(), spec.strides.last()) else {
        out.extend_from_slice(bytes);
        return Ok(out);
    };
    let (inner, step) = (inner, step as usize);
    let outer = &spec.shape[..spec.shape.len() - 1];
    let mut counters = vec![0; outer.len()];
    let mut row = 0;
    loop {
        if step == 1 {
            out.extend_from_slice(elements[row..row + inner].as_flattened());
        } else {
            for position in 0..inner {
                out.extend_from_slice(&elements[row + position * step]);
            }
        }
        let mut dimension = outer.len();
        loop {
            if dimension == 0 {
                return Ok(out);
            }
            dimension -= 1;
            let stride = spec.strides[dimension] as usize;
            counters[dimension] += 1;
            if counters[dimension] < outer[dimension] {
                row += stride;
                break;
            }
            row -= (outer[dimension] - 1) * stride;
            counters[dimension] = 0;
        }
    }
}

/// Reverses the bytes of every element.
fn swap(bytes: &mut [u8], size: usize) {
    if size > 1 {
        bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
}
