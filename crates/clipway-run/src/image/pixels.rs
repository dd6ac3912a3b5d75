//! From bytes to normalized numbers.

use super::{ImageError, PixelRule, Preprocess, RgbImage, processor};

/// Writes `(value / 255 - mean) / std` of every channel into `out`, `[3, height, width]`.
///
/// Each step is rounded to `f32`, in the order of torchvision's `ToTensor` and `Normalize`, so the result is identical.
/// Under a transformers rule, its image processor defines the steps.
///
/// # Errors
/// [`ImageError::OtherSize`] if the image processor does not produce the tower's size; [`ImageError::BufferLength`] if
/// `out` does not have 3 × height × width values; [`ImageError::Setting`] for an invalid mean or standard deviation.
pub fn to_pixels(image: &RgbImage, preprocess: &Preprocess, out: &mut [f32]) -> Result<(), ImageError> {
    preprocess.validate()?;
    if let PixelRule::Transformers(processor) = &preprocess.rule {
        return processor::to_pixels(image, processor, preprocess.size, out);
    }
    let plane = image.width * image.height;
    if out.len() != 3 * plane || image.data.len() != 3 * plane {
        return Err(ImageError::BufferLength { expected: 3 * plane, found: out.len() });
    }
    let tables: [[f32; 256]; 3] = std::array::from_fn(|channel| {
        std::array::from_fn(|value| {
            (value as f32 / 255.0 - preprocess.mean[channel]) / preprocess.std[channel]
        })
    });
    let (red, rest) = out.split_at_mut(plane);
    let (green, blue) = rest.split_at_mut(plane);
    for (((pixel, red), green), blue) in image.data.chunks_exact(3).zip(red).zip(green).zip(blue) {
        *red = tables[0][pixel[0] as usize];
        *green = tables[1][pixel[1] as usize];
        *blue = tables[2][pixel[2] as usize];
    }
    Ok(())
}
