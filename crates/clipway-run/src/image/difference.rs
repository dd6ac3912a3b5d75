//! Compares the pixels of an image under two settings.

use super::{Image, ImageError, Preprocess, to_pixels, transform};

/// The pixels of an image under two settings, and how far apart they are.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelDifference {
    /// The pixels under each, `[3, height, width]`.
    pub pixels: [Vec<f32>; 2],
    /// The largest difference between two values, in units of normalized pixels.
    pub largest: f32,
}

impl PixelDifference {
    /// Preprocesses an image under two settings of the same size, such as a source's own rule and that of its export.
    ///
    /// # Errors
    /// [`ImageError`] if one of them refuses the image, and [`ImageError::BufferLength`] if the sizes differ.
    pub fn of(image: &Image, settings: [&Preprocess; 2]) -> Result<PixelDifference, ImageError> {
        let pixels = |settings: &Preprocess| {
            let mut pixels = vec![0.0; settings.pixel_values()];
            to_pixels(&transform(image, settings)?, settings, &mut pixels)?;
            Ok::<_, ImageError>(pixels)
        };
        let pixels = [pixels(settings[0])?, pixels(settings[1])?];
        let [expected, found] = [pixels[0].len(), pixels[1].len()];
        if expected != found {
            return Err(ImageError::BufferLength { expected, found });
        }
        let pairs = pixels[0].iter().zip(&pixels[1]);
        let largest = pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
        Ok(PixelDifference { pixels, largest })
    }
}
