//! Images: from a file's bytes to a model's input.
//!
//! The steps match open_clip's evaluation transform on Pillow 13, bit for bit: the file is decoded by its content and
//! kept in its own mode, resized in that mode, cropped or padded, converted to RGB, scaled and normalized. If a decoder
//! cannot reproduce Pillow's bytes, its file says so. A model from a transformers folder uses that folder's image
//! processor instead, also bit for bit ([`PixelRule`]).

mod batch;
mod calendar;
mod color;
mod config;
mod decode;
mod difference;
mod error;
mod exif;
mod geometry;
mod name;
mod orientation;
mod samples;
mod pixels;
mod processor;
mod resample;
mod rgb;
mod taken;
mod thumbnail;
mod transform;

pub use batch::preprocess_batch;
pub use calendar::DateTime;
pub use clipway_model::config::PixelRule;
pub use config::{ColorMode, Interpolation, Preprocess, ResizeMode};
pub use decode::{DecodeLimits, decode};
pub use difference::PixelDifference;
pub use error::ImageError;
pub use name::NamedAs;
pub use pixels::to_pixels;
pub use samples::{Image, RgbImage, Samples, Transparency};
pub use taken::date_taken;
pub use thumbnail::thumbnail;
pub use transform::transform;

/// Turns a file's bytes into normalized pixels, `[3, height, width]`.
///
/// # Errors
/// The errors of [`decode`], [`transform`] and [`to_pixels`].
pub fn preprocess(
    bytes: &[u8],
    preprocess: &Preprocess,
    limits: &DecodeLimits,
    out: &mut [f32],
) -> Result<(), ImageError> {
    let image = decode(bytes, limits)?;
    to_pixels(&transform(&image, preprocess)?, preprocess, out)
}
