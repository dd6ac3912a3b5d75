//! How much work the pictures of a file may be.

use super::super::ImageError;
use super::boxes::FORMAT;

/// Pixels that the pictures of a file may have together, in addition to [`VISITS_PER_PIXEL`] times the image's: the tiles
/// of a small image may be larger than it is.
const FREE_VISITS: u64 = 1 << 22;
/// How often the pictures of a file may visit each pixel of the image.
const VISITS_PER_PIXEL: u64 = 4;
/// Bytes that the pictures of a file may have together, in addition to [`MOST_SHARED`] times the file's: tiles share
/// their configuration.
const FREE_BYTES: u64 = 1 << 24;
/// How many times the file's size the pictures of a file may have, if several share the same bytes.
const MOST_SHARED: u64 = 2;
/// Maximum number of bytes of a picture.
const MOST_BYTES: usize = 1 << 30;

/// Work left for the pictures of a file.
pub(super) struct Budget {
    visits: u64,
    bytes: u64,
}

impl Budget {
    /// The budget for an image with this many pixels in a file of this many bytes.
    pub fn new(pixels: u64, file: usize) -> Budget {
        Budget {
            visits: FREE_VISITS + VISITS_PER_PIXEL * pixels,
            bytes: FREE_BYTES + MOST_SHARED * file as u64,
        }
    }

    /// Takes what a picture with this many pixels, coded in this many bytes, needs.
    ///
    /// # Errors
    /// It is not left.
    pub fn spend(&mut self, visits: u64, bytes: usize) -> Result<(), ImageError> {
        match (self.visits.checked_sub(visits), self.bytes.checked_sub(bytes as u64)) {
            (Some(visits), Some(left)) if bytes <= MOST_BYTES => {
                *self = Budget { visits, bytes: left };
                Ok(())
            }
            _ => Err(ImageError::TooMuchWork {
                format: FORMAT,
                detail: "its pictures are too large or too many for its size".into(),
            }),
        }
    }
}
