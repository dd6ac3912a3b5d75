//! Decodes a file by its content into its own mode.

mod bits;
mod bmp;
mod bytes;
mod gif;
#[cfg(feature = "heic")]
mod heif;
mod jpeg;
mod jpeg_inks;
mod jpeg_layout;
mod limits;
mod png;
mod sniff;
mod tiff;
mod webp;
mod webp_bits;
mod webp_layout;

#[cfg(feature = "heic")]
pub(super) use heif::exif as heic_exif;
pub use limits::DecodeLimits;

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Image, ImageError};
use sniff::{Format, sniff};

/// Decodes an image, detecting its format from the first bytes.
///
/// Supports JPEG, PNG, GIF (first frame), BMP, TIFF (first directory), WebP (first frame) and, with the features `heic`
/// and `avif`, HEIC and AVIF (primary image). Pixels stay in the file's own mode, and the EXIF orientation is reported, not applied (a TIFF's
/// is applied, as in Pillow).
///
/// # Errors
/// [`ImageError`]: the bytes are not an image, are of an unsupported kind, truncated or corrupt, or state no pixels or
/// more than `limits` allow. An image is complete or an error, never partly gray.
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Image, ImageError> {
    let format = sniff(bytes)?;
    // The decoders are third-party code on untrusted bytes: a panic in one of them is an error for this one file, not
    // the end of a batch. They keep no state between calls that a panic could corrupt.
    let decoded = catch_unwind(AssertUnwindSafe(|| match format {
        Format::Jpeg => jpeg::decode(bytes, limits),
        Format::Png => png::decode(bytes, limits),
        Format::Gif => gif::decode(bytes, limits),
        Format::Bmp => bmp::decode(bytes, limits),
        Format::Tiff => tiff::decode(bytes, limits),
        Format::WebP => webp::decode(bytes, limits),
        #[cfg(feature = "heic")]
        Format::Heic => heif::decode(bytes, limits, format.name()),
        #[cfg(feature = "avif")]
        Format::Avif => heif::decode(bytes, limits, format.name()),
    }));
    decoded.unwrap_or_else(|_| {
        Err(ImageError::Corrupt { format: format.name(), detail: "the decoder failed on it".into() })
    })
}
