//! Boxes, of which the files are made (ISO/IEC 14496-12), and a cursor that reads numbers from them.

use super::super::ImageError;

/// The container's name in errors, until the format's takes its place.
pub(super) const FORMAT: &str = "HEIF";

/// Four characters that say what a box, an item, a property or a reference is.
pub(super) type Kind = [u8; 4];

/// How a kind is shown in messages.
pub(super) fn shown(kind: Kind) -> String {
    kind.escape_ascii().to_string()
}

/// What is left to read of a part of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    /// Where the rest starts in the file.
    at: usize,
    /// The box that it is read from; `None` for the file itself.
    inside: Option<Kind>,
}

/// A box: its kind, and its contents.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub kind: Kind,
    pub body: Cursor<'a>,
}

impl<'a> Cursor<'a> {
    /// A cursor over a whole file.
    pub fn file(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes, at: 0, inside: None }
    }

    /// A cursor over data that belongs to `inside`.
    pub fn data(bytes: &'a [u8], inside: Kind) -> Cursor<'a> {
        Cursor { rest: bytes, at: 0, inside: Some(inside) }
    }

    /// Where the rest starts in the file.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The bytes that are left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes the next `length` bytes.
    ///
    /// # Errors
    /// Fewer are left.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], ImageError> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.short(&format!("{length} bytes")));
        };
        self.rest = rest;
        self.at += length;
        Ok(taken)
    }

    /// Takes a number of up to 8 bytes; one of no bytes is 0.
    pub fn number(&mut self, size: usize) -> Result<u64, ImageError> {
        Ok(self.take(size)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    pub fn byte(&mut self) -> Result<u8, ImageError> {
        Ok(self.number(1)? as u8)
    }

    pub fn short_number(&mut self) -> Result<u16, ImageError> {
        Ok(self.number(2)? as u16)
    }

    pub fn long_number(&mut self) -> Result<u32, ImageError> {
        Ok(self.number(4)? as u32)
    }

    /// Takes the version and the flags that start some boxes.
    pub fn version(&mut self) -> Result<(u8, u32), ImageError> {
        let word = self.long_number()?;
        Ok(((word >> 24) as u8, word & 0xff_ffff))
    }

    /// Takes the next box, if any bytes are left.
    pub fn next_box(&mut self) -> Result<Option<Part<'a>>, ImageError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let start = self.at;
        let size = self.long_number()?;
        let kind = *self.take(4)?.first_chunk().expect("four bytes");
        let length = match size {
            // The box ends with what it is in.
            0 => Some(self.rest.len() as u64),
            1 => self.number(8)?.checked_sub(16),
            _ => u64::from(size).checked_sub(8),
        };
        let Some(length) = length else {
            return Err(corrupt(format!(
                "byte {start}: box `{}` states a size of {size} bytes",
                shown(kind)
            )));
        };
        if length > self.rest.len() as u64 {
            return Err(self.short(&format!("box `{}` of {length} bytes", shown(kind))));
        }
        let at = self.at;
        let rest = self.take(length as usize)?;
        Ok(Some(Part { kind, body: Cursor { rest, at, inside: Some(kind) } }))
    }

    /// The error of something that does not fit into what is left.
    fn short(&self, expected: &str) -> ImageError {
        let Cursor { at, rest, inside } = self;
        match inside {
            Some(kind) => corrupt(format!(
                "byte {at}: expected {expected} in `{}`, found {} bytes",
                shown(*kind),
                rest.len()
            )),
            None => truncated(format!("byte {at}: expected {expected}, found {} bytes", rest.len())),
        }
    }
}

pub(super) fn corrupt(detail: impl Into<String>) -> ImageError {
    ImageError::Corrupt { format: FORMAT, detail: detail.into() }
}

pub(super) fn truncated(detail: impl Into<String>) -> ImageError {
    ImageError::Truncated { format: FORMAT, detail: detail.into() }
}

pub(super) fn unsupported(feature: impl Into<String>) -> ImageError {
    ImageError::Unsupported { format: FORMAT, feature: feature.into() }
}
