//! Reads the contents of entries, checking their checksums.

use crc32fast::Hasher;
use flate2::{Decompress, FlushDecompress, Status};

use super::{Method, ZipArchive, ZipEntry, malformed};
use crate::error::{Code, FormatError, Place};
use crate::memory::reserve;
use crate::source::ReadAt;

/// Number of bytes read, checked and passed on at once: few enough to stay in a core's cache.
const CHUNK: usize = 256 << 10;

impl ZipArchive {
    /// Reads the whole content of an entry of at most `limit` bytes.
    ///
    /// # Errors
    /// `Code::TooLarge` over the limit; `Code::Checksum` or `Code::Malformed` if the content is damaged.
    pub fn read(&self, index: usize, limit: u64) -> Result<Vec<u8>, FormatError> {
        let entry = &self.entries()[index];
        if entry.size > limit {
            return Err(FormatError::new(
                Code::TooLarge,
                Place::Entry(entry.name.clone()),
                format!("{} bytes; the limit for this kind of entry is {limit}", entry.size),
            ));
        }
        let mut out = Vec::new();
        self.read_range(index, 0, entry.size, &mut out)?;
        Ok(out)
    }

    /// Reads `length` bytes of the content from `start` into `out` (cleared first). The first read of an entry covers
    /// all of it to check its CRC; later ones read only the range.
    ///
    /// # Errors
    /// `Code::BadValue` if the range is not inside the entry; damaged content.
    pub fn read_range(
        &self,
        index: usize,
        start: u64,
        length: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), FormatError> {
        let entry = &self.entries()[index];
        out.clear();
        let end = start.checked_add(length).filter(|&end| end <= entry.size).ok_or_else(|| {
            FormatError::new(
                Code::BadValue,
                Place::Entry(entry.name.clone()),
                format!("{length} bytes at byte {start} are not inside the {} bytes", entry.size),
            )
        })?;
        if entry.method == Method::Stored && (self.is_verified(index) || length == entry.size) {
            let mut hasher = Hasher::new();
            append(self.source.as_ref(), entry, start, length, out, &mut |bytes| hasher.update(bytes))?;
            return if length == entry.size { self.finish(index, hasher.finalize()) } else { Ok(()) };
        }
        reserve(out, length as usize, || Place::Entry(entry.name.clone()))?;
        let mut position = 0;
        self.read_chunks(index, &mut |bytes| {
            let next = position + bytes.len() as u64;
            if next > start && position < end {
                let from = start.saturating_sub(position) as usize;
                let to = (end.min(next) - position) as usize;
                out.extend_from_slice(&bytes[from..to]);
            }
            position = next;
        })
    }

    /// Like [`read_chunks`](ZipArchive::read_chunks), but only if the content is stored uncompressed, so that all
    /// pieces but the last have the same round length; otherwise returns `false` and passes nothing on.
    ///
    /// # Errors
    /// Damaged content.
    pub fn read_pieces(&self, index: usize, sink: &mut dyn FnMut(&[u8])) -> Result<bool, FormatError> {
        let stored = self.entries()[index].method == Method::Stored;
        if stored {
            self.read_chunks(index, sink)?;
        }
        Ok(stored)
    }

    /// Passes the whole content to `sink`, piece by piece and in order. A wrong CRC is detected, and returned, only
    /// after the last piece.
    ///
    /// # Errors
    /// Damaged content.
    pub fn read_chunks(&self, index: usize, sink: &mut dyn FnMut(&[u8])) -> Result<(), FormatError> {
        let entry = &self.entries()[index];
        let mut hasher = Hasher::new();
        let mut hashed = |bytes: &[u8]| {
            hasher.update(bytes);
            sink(bytes);
        };
        match entry.method {
            Method::Stored => {
                let mut buffer = Vec::new();
                let mut at = 0;
                while at < entry.size {
                    let length = (entry.size - at).min(CHUNK as u64);
                    buffer.clear();
                    append(self.source.as_ref(), entry, at, length, &mut buffer, &mut hashed)?;
                    at += length;
                }
            }
            Method::Deflated => inflate(self.source.as_ref(), entry, &mut hashed)?,
        }
        self.finish(index, hasher.finalize())
    }
}

/// Appends a range of a stored entry to `out`, showing each piece to `seen` while it is in the cache.
fn append(
    source: &dyn ReadAt,
    entry: &ZipEntry,
    start: u64,
    length: u64,
    out: &mut Vec<u8>,
    seen: &mut dyn FnMut(&[u8]),
) -> Result<(), FormatError> {
    let offset = entry.data_offset + start;
    if offset + length > source.size() {
        return Err(FormatError::new(
            Code::Truncated,
            Place::Entry(entry.name.clone()),
            "the file was truncated",
        ));
    }
    reserve(out, length as usize, || Place::Entry(entry.name.clone()))?;
    let mut done = 0;
    while done < length {
        let piece = (length - done).min(CHUNK as u64);
        let from = out.len();
        out.resize(from + piece as usize, 0);
        source
            .read_exact_at(offset + done, &mut out[from..])
            .map_err(|error| FormatError::io(offset + done, &error))?;
        seen(&out[from..]);
        done += piece;
    }
    Ok(())
}

/// Inflates an entry: never beyond its declared size, and using exactly its bytes.
fn inflate(source: &dyn ReadAt, entry: &ZipEntry, sink: &mut dyn FnMut(&[u8])) -> Result<(), FormatError> {
    let place = || Place::Entry(entry.name.clone());
    let damaged = |cause: String| malformed(place(), cause);
    let mut state = Decompress::new(false);
    let mut input = Vec::new();
    let mut output = vec![0; CHUNK];
    let mut fetched = 0;
    let mut used = 0;
    loop {
        if used == input.len() && fetched < entry.compressed {
            let length = (entry.compressed - fetched).min(CHUNK as u64);
            input.clear();
            append(source, entry, fetched, length, &mut input, &mut |_| {})?;
            fetched += length;
            used = 0;
        }
        let (before_in, before_out) = (state.total_in(), state.total_out());
        let status = state
            .decompress(&input[used..], &mut output, FlushDecompress::None)
            .map_err(|error| damaged(format!("not a deflate stream: {error}")))?;
        let produced = (state.total_out() - before_out) as usize;
        used += (state.total_in() - before_in) as usize;
        if state.total_out() > entry.size {
            return Err(damaged(format!("inflates to more than its {} bytes", entry.size)));
        }
        sink(&output[..produced]);
        if status == Status::StreamEnd {
            break;
        }
        if produced == 0 && used == input.len() && fetched == entry.compressed {
            return Err(FormatError::new(Code::Truncated, place(), "the deflate stream has no end"));
        }
    }
    if state.total_out() != entry.size || state.total_in() != entry.compressed {
        return Err(damaged(format!(
            "{} bytes inflate to {}, but the directory says {} to {}",
            state.total_in(),
            state.total_out(),
            entry.compressed,
            entry.size
        )));
    }
    Ok(())
}
