//! Small copies of results, to look at.

use std::path::Path;

use clipway_model::input::{self, Kind};
use clipway_run::image::{DecodeLimits, RgbImage, decode, thumbnail};

use crate::failure::chain;

/// A copy of an image file with its longer side at most `side` pixels, or why there is none.
pub fn small(path: &Path, limits: &DecodeLimits, side: usize) -> Result<RgbImage, String> {
    let bytes = input::read(path, Kind::Image).map_err(|error| error.why())?;
    let image = decode(&bytes, limits).map_err(|error| chain(&error))?;
    thumbnail(&image, side).map_err(|error| chain(&error))
}
