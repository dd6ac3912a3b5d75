//! Random access to bytes.

use std::io;

use crate::error::{Code, FormatError, Place};
use crate::memory::zeros;

/// Bytes that can be read at any offset from many threads at once: a file, or a slice in memory.
///
/// Files are read with positioned reads instead of being mapped, so a file that is truncated while being read causes an
/// error and never a signal.
pub trait ReadAt: Send + Sync {
    /// Length in bytes.
    fn size(&self) -> u64;

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the bytes end early, or a system error.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

impl ReadAt for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let part = start.and_then(|s| self.get(s..s.checked_add(buffer.len())?));
        match part {
            Some(part) => {
                buffer.copy_from_slice(part);
                Ok(())
            }
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> u64 {
        self.as_slice().size()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_exact_at(offset, buffer)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for std::sync::Arc<T> {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        (**self).read_exact_at(offset, buffer)
    }
}

/// Reads `length` bytes at `offset`, after checking that they are inside the source.
///
/// # Errors
/// `Code::Truncated` if the range extends past the end, `Code::Io` if reading fails, `Code::NoMemory`. Nothing is allocated
/// before the length is checked.
pub fn read_range(source: &dyn ReadAt, offset: u64, length: u64) -> Result<Vec<u8>, FormatError> {
    check_range(source, offset, length)?;
    let length = usize::try_from(length).map_err(|_| {
        FormatError::new(Code::TooLarge, Place::Byte(offset), format!("{length} bytes do not fit in memory"))
    })?;
    let mut bytes = zeros(length, || Place::Byte(offset))?;
    source.read_exact_at(offset, &mut bytes).map_err(|error| FormatError::io(offset, &error))?;
    Ok(bytes)
}

/// Bytes that are read at once: a multiple of every dtype's size.
const PIECE: u64 = 1 << 20;

/// Reads the same bytes as [`read_range`] and passes them to `sink` in pieces of at most 1 MiB, in order.
///
/// # Errors
/// The errors of [`read_range`]; of reading, after the pieces before.
pub(crate) fn read_pieces(
    source: &dyn ReadAt,
    offset: u64,
    length: u64,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), FormatError> {
    check_range(source, offset, length)?;
    let mut piece = Vec::new();
    let mut done = 0;
    while done < length {
        piece.resize(PIECE.min(length - done) as usize, 0);
        let place = offset + done;
        source.read_exact_at(place, &mut piece).map_err(|error| FormatError::io(place, &error))?;
        sink(&piece);
        done += piece.len() as u64;
    }
    Ok(())
}

fn check_range(source: &dyn ReadAt, offset: u64, length: u64) -> Result<(), FormatError> {
    let size = source.size();
    if offset.checked_add(length).is_none_or(|end| end > size) {
        return Err(FormatError::new(
            Code::Truncated,
            Place::Byte(offset),
            format!("expected {length} bytes, but the file ends at byte {size}"),
        ));
    }
    Ok(())
}

/// Reads the whole source if it has at most `limit` bytes.
///
/// # Errors
/// `Code::TooLarge` over the limit, `Code::Io` if reading fails.
pub fn read_all(source: &dyn ReadAt, limit: u64) -> Result<Vec<u8>, FormatError> {
    let size = source.size();
    if size > limit {
        return Err(FormatError::new(
            Code::TooLarge,
            Place::File,
            format!("the file has {size} bytes; the limit for this kind is {limit}"),
        ));
    }
    read_range(source, 0, size)
}
