//! Reads numbers at offsets stated by a file.

use super::ImageError;

/// A file's bytes with its format's name and byte order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub bytes: &'a [u8],
    pub format: &'static str,
    pub little_endian: bool,
}

impl<'a> Reader<'a> {
    /// Returns `length` bytes at an offset.
    ///
    /// # Errors
    /// [`ImageError::Truncated`] if the file ends before them.
    pub fn slice(&self, offset: u64, length: u64) -> Result<&'a [u8], ImageError> {
        let end = offset.saturating_add(length);
        if end > self.bytes.len() as u64 {
            let detail = format!(
                "byte {offset}: expected {length} bytes, but the file has {} in total",
                self.bytes.len()
            );
            return Err(ImageError::Truncated { format: self.format, detail });
        }
        Ok(&self.bytes[offset as usize..end as usize])
    }

    /// Reads an integer of 1, 2, 4 or 8 bytes.
    ///
    /// # Errors
    /// [`ImageError::Truncated`] if the file ends before it.
    pub fn number(&self, offset: u64, size: u64) -> Result<u64, ImageError> {
        let bytes = self.slice(offset, size)?;
        let join = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
        Ok(if self.little_endian { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) })
    }

    pub fn unsupported(&self, feature: impl Into<String>) -> ImageError {
        ImageError::Unsupported { format: self.format, feature: feature.into() }
    }

    pub fn corrupt(&self, detail: impl Into<String>) -> ImageError {
        ImageError::Corrupt { format: self.format, detail: detail.into() }
    }
}
