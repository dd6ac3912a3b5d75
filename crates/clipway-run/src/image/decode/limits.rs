//! Limits on the cost of a file.

use clipway_formats::{Place, check_room};

use super::super::ImageError;

/// Limits on the cost of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Maximum number of pixels, width times height.
    pub max_pixels: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { max_pixels: 64 << 20 }
    }
}

/// Maximum side of a resized image: the weights for a longer one would need more memory than its pixels.
const MAX_SIDE: u64 = 1 << 20;

/// Bytes that decoding and converting takes for each pixel at most in most formats: samples as they are stored, as decoded, as RGB.
const PIXEL_BYTES: u64 = 16;

impl DecodeLimits {
    /// Checks the size stated by a header before anything is allocated for it.
    pub(super) fn check(
        &self,
        format: &'static str,
        width: u64,
        height: u64,
    ) -> Result<(usize, usize), ImageError> {
        self.check_bytes(format, width, height, PIXEL_BYTES)
    }

    /// Like [`DecodeLimits::check`], for a decoder that needs this many bytes per pixel.
    pub(super) fn check_bytes(
        &self,
        format: &'static str,
        width: u64,
        height: u64,
        pixel_bytes: u64,
    ) -> Result<(usize, usize), ImageError> {
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
        // Decoders take their memory without asking.
        let bytes = usize::try_from(found.saturating_mul(pixel_bytes)).unwrap_or(usize::MAX);
        check_room(bytes, || Place::File).map_err(|_| ImageError::NoMemory { width, height })?;
        Ok((width as usize, height as usize))
    }
}
