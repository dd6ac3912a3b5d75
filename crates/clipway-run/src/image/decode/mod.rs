//! Decoding a file by its content, into its own mode.

mod bits;
mod bmp;
mod bytes;
mod gif;
mod jpeg;
mod jpeg_inks;
mod png;
mod sniff;
mod tiff;
mod webp;

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{ImageError, Picture};
use sniff::{Format, sniff};

/// What a file may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// The most pixels, width times height, that a picture may have.
    pub max_pixels: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { max_pixels: 64 << 20 }
    }
}

/// The longest side of a picture that is resized: the weights of a longer one would outgrow its pixels.
const MAX_SIDE: u64 = 1 << 20;

impl DecodeLimits {
    /// Checks the size that a header announces, before anything is allocated for it.
    fn check(&self, format: &'static str, width: u64, height: u64) -> Result<(usize, usize), ImageError> {
        if width == 0 || height == 0 {
            return Err(ImageError::ZeroSize { width, height });
        }
        let found = width.saturating_mul(height);
        if found > self.max_pixels {
            return Err(ImageError::TooManyPixels { width, height, found, limit: self.max_pixels });
        }
        if width > MAX_SIDE || height > MAX_SIDE {
            let feature = format!("a side longer than {MAX_SIDE} pixels ({width} x {height})");
            return Err(ImageError::Unsupported { format, feature });
        }
        Ok((width as usize, height as usize))
    }
}

/// Decodes a picture, telling its format by its first bytes.
///
/// JPEG, PNG, GIF (first frame), BMP, TIFF (first directory) and WebP (first frame) are read. The pixels stay
/// in the file's own mode, and the EXIF orientation is reported, not applied (a TIFF's is applied, as Pillow
/// does).
///
/// # Errors
/// [`ImageError`]: the bytes are no picture, of a kind that is not read, cut short, corrupt, or announce no
/// pixels or more than `limits` allow. A picture is whole or an error, never partly grey.
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Picture, ImageError> {
    let format = sniff(bytes)?;
    // The decoders are third-party code on untrusted bytes: a panic in one of them is an error of this one
    // file, not the end of a batch. They keep no state across calls that it could leave broken.
    let decoded = catch_unwind(AssertUnwindSafe(|| match format {
        Format::Jpeg => jpeg::decode(bytes, limits),
        Format::Png => png::decode(bytes, limits),
        Format::Gif => gif::decode(bytes, limits),
        Format::Bmp => bmp::decode(bytes, limits),
        Format::Tiff => tiff::decode(bytes, limits),
        Format::WebP => webp::decode(bytes, limits),
    }));
    decoded.unwrap_or_else(|_| {
        Err(ImageError::Corrupt { format: format.name(), detail: "the decoder gave up on it".into() })
    })
}
