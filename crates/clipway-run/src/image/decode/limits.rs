//! What a file may cost.

use super::super::ImageError;

/// What a file may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// The most pixels, width times height, that an image may have.
    pub max_pixels: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { max_pixels: 64 << 20 }
    }
}

/// The longest side of an image that is resized: the weights of a longer one would outgrow its pixels.
const MAX_SIDE: u64 = 1 << 20;

impl DecodeLimits {
    /// Checks the size that a header announces, before anything is allocated for it.
    pub(super) fn check(
        &self,
        format: &'static str,
        width: u64,
        height: u64,
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
        Ok((width as usize, height as usize))
    }
}
