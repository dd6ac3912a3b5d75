//! From bytes to normalized numbers.

use clipway_model::config::PatchGrids;

use super::{ImageError, PixelRule, Preprocess, RgbImage, processor};

/// Writes `(value / 255 - mean) / std` of every channel into `out`, `[3, height, width]`.
///
/// Each step is rounded to `f32`, in the order of torchvision's `ToTensor` and `Normalize`, so the result is identical.
/// Under a transformers rule, its image processor defines the steps. Where images keep their proportions, zeros follow, up
/// to the values of the largest images, and then height and width ([`crate::tower::TowerInput::Grids`]).
///
/// # Errors
/// [`ImageError::OtherSize`] if the image processor does not produce the tower's size; [`ImageError::BufferLength`] if
/// `out` does not have [`Preprocess::pixel_values`]; [`ImageError::Setting`] for an invalid mean or standard deviation.
pub fn to_pixels(image: &RgbImage, preprocess: &Preprocess, out: &mut [f32]) -> Result<(), ImageError> {
    preprocess.validate()?;
    let (height, width) = (image.height, image.width);
    let (size, pixels) = match preprocess.rule.grids() {
        Some(grids) => ((height, width), sized(out, [height, width], grids)?),
        None => (preprocess.size, out),
    };
    match &preprocess.rule {
        PixelRule::Transformers(processor) => processor::to_pixels(image, processor, size, pixels),
        PixelRule::OpenClip | PixelRule::Timm(_) => normalized(image, preprocess, pixels),
    }
}

/// Writes zeros and the size after an image's pixels; returns the place for these.
fn sized(out: &mut [f32], size: [usize; 2], grids: PatchGrids) -> Result<&mut [f32], ImageError> {
    let (most, found) = (grids.most_values(), out.len());
    let values = 3 * size[0] * size[1];
    if found != most + size.len() || values > most {
        return Err(ImageError::BufferLength { expected: values.max(most) + size.len(), found });
    }
    let (pixels, rest) = out.split_at_mut(values);
    rest.fill(0.0);
    rest[most - values..].copy_from_slice(&size.map(|side| side as f32));
    Ok(pixels)
}

fn normalized(image: &RgbImage, preprocess: &Preprocess, out: &mut [f32]) -> Result<(), ImageError> {
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
