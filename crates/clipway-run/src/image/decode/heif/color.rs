//! How the samples of a picture are to be taken.

use super::picture::Plane;

/// How colors are coded (ITU-T H.273).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Coding {
    /// Matrix coefficients.
    pub matrix: u16,
    /// Whether samples use their whole range.
    pub is_full: bool,
}

impl Coding {
    /// The coding of a stream that does not state it.
    pub const UNSTATED: Coding = Coding { matrix: 2, is_full: false };

    /// The shares of red and of blue in light (ITU-T H.273, table 4); `None` where light is no weighted sum, or not stated.
    pub fn shares(self) -> Option<(f32, f32)> {
        match self.matrix {
            1 => Some((0.2126, 0.0722)),
            4 => Some((0.30, 0.11)),
            5 | 6 => Some((0.299, 0.114)),
            7 => Some((0.212, 0.087)),
            9 | 10 => Some((0.2627, 0.0593)),
            _ => None,
        }
    }
}

/// Alpha.
pub(super) struct Alpha {
    pub plane: Plane,
    /// Bits per sample.
    pub depth: u8,
    /// Whether the stream says that samples use their whole range.
    #[cfg(feature = "avif")]
    pub is_full: bool,
}

impl Alpha {
    /// The high bits of a sample.
    pub fn byte(&self, x: usize, y: usize) -> u8 {
        (self.plane.row(y)[x] >> (self.depth - 8)) as u8
    }
}
