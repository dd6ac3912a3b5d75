//! Bytes of a pickle, read through a window.

use crate::error::{Code, FormatError, Place};
use crate::memory::reserve;
use crate::source::ReadAt;

/// Number of bytes fetched at once.
const WINDOW: u64 = 64 << 10;

/// A position in a source, and a window of bytes from there.
pub(super) struct Input<'a> {
    source: &'a dyn ReadAt,
    /// Archive entry of the source, for messages.
    entry: Option<&'a str>,
    end: u64,
    window: Vec<u8>,
    cursor: usize,
    window_end: u64,
}

impl<'a> Input<'a> {
    /// Reads `source` from `start` to `end`, both inside it.
    pub(super) fn new(source: &'a dyn ReadAt, entry: Option<&'a str>, start: u64, end: u64) -> Input<'a> {
        Input { source, entry, end, window: Vec::new(), cursor: 0, window_end: start }
    }

    /// Offset of the next byte.
    pub(super) fn position(&self) -> u64 {
        self.window_end - (self.window.len() - self.cursor) as u64
    }

    /// Number of bytes to the end.
    pub(super) fn remaining(&self) -> u64 {
        self.end - self.position()
    }

    /// Place of an offset, for messages.
    pub(super) fn place(&self, offset: u64) -> Place {
        match self.entry {
            Some(entry) => Place::EntryByte(entry.to_owned(), offset),
            None => Place::Byte(offset),
        }
    }

    /// Takes the next byte.
    pub(super) fn byte(&mut self) -> Result<u8, FormatError> {
        Ok(self.take(1)?[0])
    }

    /// Takes the next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N as u64)?);
        Ok(out)
    }

    /// Takes the next `length` bytes, which must be there.
    pub(super) fn take(&mut self, length: u64) -> Result<&[u8], FormatError> {
        let available = (self.window.len() - self.cursor) as u64;
        if length > available {
            self.fetch(length, available)?;
        }
        let from = self.cursor;
        self.cursor += length as usize;
        Ok(&self.window[from..self.cursor])
    }

    /// Skips `length` bytes, which must be there, without reading them.
    pub(super) fn skip(&mut self, length: u64) -> Result<(), FormatError> {
        let available = (self.window.len() - self.cursor) as u64;
        if length <= available {
            self.cursor += length as usize;
            return Ok(());
        }
        let remaining = self.remaining();
        if length > remaining {
            return Err(self.cut(length, remaining));
        }
        self.window_end += length - available;
        self.window.clear();
        self.cursor = 0;
        Ok(())
    }

    fn cut(&self, length: u64, remaining: u64) -> FormatError {
        let cause = format!("expected {length} bytes, but only {remaining} are left");
        FormatError::new(Code::Truncated, self.place(self.position()), cause)
    }

    /// Takes the bytes up to the next line feed, which is dropped.
    pub(super) fn line(&mut self, longest: u64) -> Result<Vec<u8>, FormatError> {
        let start = self.position();
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => return Ok(line),
                _ if line.len() as u64 >= longest => {
                    let cause = format!("a line of more than {longest} bytes");
                    return Err(FormatError::new(Code::TooLarge, self.place(start), cause));
                }
                byte => line.push(byte),
            }
        }
    }

    /// Makes sure that the window contains at least `length` bytes, of which it has `available`.
    fn fetch(&mut self, length: u64, available: u64) -> Result<(), FormatError> {
        let position = self.position();
        let remaining = self.end - position;
        if length > remaining {
            return Err(self.cut(length, remaining));
        }
        self.window.drain(..self.cursor);
        self.cursor = 0;
        let wanted = length.max(WINDOW.min(remaining));
        let fetched = self.window_end;
        let more = (wanted as usize).saturating_sub(self.window.len());
        reserve(&mut self.window, more, || Place::Byte(position))?;
        self.window.resize(wanted as usize, 0);
        self.source
            .read_exact_at(fetched, &mut self.window[available as usize..])
            .map_err(|error| FormatError::io(fetched, &error))?;
        self.window_end = position + wanted;
        Ok(())
    }
}
