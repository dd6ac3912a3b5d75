//! Image processors of transformers: the steps of `AutoImageProcessor`, with their order and rounding.

use clipway_model::config::{Backend, ImageProcessor, Normalize, PatchGrids, Resample, Resize, ResizeTo};

use super::geometry::Axis;
use super::resample::{Arithmetic, Source, resize_bytes, resize_nearest};
use super::rgb::to_rgb;
use super::{Image, ImageError, Interpolation, RgbImage};

/// Maximum side of a resized image, before cropping: transformers computes all of it.
const MAX_RESIZED: usize = 1 << 24;

/// Computes the bytes that the processor normalizes: converted to RGB, resized and cropped.
pub(super) fn transform(image: &Image, processor: &ImageProcessor) -> Result<RgbImage, ImageError> {
    let (width, height) = (image.width, image.height);
    let (resized_height, resized_width) = match processor.resize {
        Some(resize) => resized(resize.to, height, width),
        None => (height, width),
    };
    if resized_height == 0 || resized_width == 0 {
        return Err(ImageError::ResizedAway { width, height, resized_width, resized_height });
    }
    if resized_height.max(resized_width) > MAX_RESIZED {
        let found = (resized_height as u64).saturating_mul(resized_width as u64);
        let limit = MAX_RESIZED as u64;
        let (width, height) = (resized_width as u64, resized_height as u64);
        return Err(ImageError::TooManyPixels { width, height, found, limit });
    }
    let axis = |resized, length| match processor.crop {
        Some(_) => center(resized, length, processor.backend),
        None => Axis { resized, start: 0, count: resized, before: 0, length: resized },
    };
    let [cropped_height, cropped_width] = processor.crop.unwrap_or_default();
    let x = axis(resized_width, cropped_width);
    let y = axis(resized_height, cropped_height);
    let rgb = to_rgb(image, processor.over_white);
    let source = Source { samples: rgb.as_slice(), width, height };
    Ok(framed(&resize(source, x, y, processor), x, y))
}

/// Height and width after resizing, with transformers' arithmetic.
fn resized(to: ResizeTo, height: usize, width: usize) -> (usize, usize) {
    let (short, long) = (width.min(height), width.max(height));
    let turned = |short, long| if width <= height { (long, short) } else { (short, long) };
    match to {
        ResizeTo::Shortest(side) => turned(side, ((side * long) as f64 / short as f64) as usize),
        ResizeTo::ShortestWithin { shortest, longest } => {
            // The side is rounded; the other one is computed from the side before rounding.
            let limited = long as f64 / short as f64 * shortest as f64 > longest as f64;
            let exact = (longest * short) as f64 / long as f64;
            let side = if limited { exact.round_ties_even() as usize } else { shortest };
            if short == side {
                return (height, width);
            }
            let other = if limited { exact * long as f64 } else { (side * long) as f64 };
            turned(side, (other / short as f64) as usize)
        }
        ResizeTo::Within([most_height, most_width]) => {
            let scale = (most_height as f64 / height as f64).min(most_width as f64 / width as f64);
            ((height as f64 * scale) as usize, (width as f64 * scale) as usize)
        }
        ResizeTo::Exactly([height, width]) => (height, width),
        ResizeTo::Patches(grids) => {
            let [height, width] = grids.size_of(height, width);
            (height, width)
        }
    }
}

/// The steps before timm's `ToTensor` for images that keep their proportions: converted to RGB, resized with Pillow.
pub(super) fn of_timm(interpolation: Interpolation, grids: PatchGrids) -> ImageProcessor {
    let resample = match interpolation {
        Interpolation::Nearest => Resample::Nearest,
        Interpolation::Lanczos => Resample::Lanczos,
        Interpolation::Bilinear => Resample::Bilinear,
        Interpolation::Bicubic => Resample::Bicubic,
        Interpolation::Box => Resample::Box,
        Interpolation::Hamming => Resample::Hamming,
    };
    ImageProcessor {
        backend: Backend::Pillow,
        over_white: false,
        resize: Some(Resize { to: ResizeTo::Patches(grids), resample }),
        crop: None,
        rescale: None,
        normalize: None,
        pad: None,
    }
}

/// Center-crops a side, rounding down, or pads it with black: the odd pixel comes after it with torchvision, before it
/// with Pillow.
fn center(resized: usize, length: usize, backend: Backend) -> Axis {
    if resized >= length {
        return Axis { resized, start: (resized - length) / 2, count: length, before: 0, length };
    }
    let missing = length - resized;
    let before = match backend {
        Backend::Torchvision => missing / 2,
        Backend::Pillow => missing.div_ceil(2),
    };
    Axis { resized, start: 0, count: resized, before, length }
}

fn resize(source: Source<'_, u8>, x: Axis, y: Axis, processor: &ImageProcessor) -> Vec<u8> {
    let arithmetic = match processor.backend {
        Backend::Torchvision => Arithmetic::Torch,
        Backend::Pillow => Arithmetic::Pillow,
    };
    let interpolation = match processor.resize.map(|Resize { resample, .. }| resample) {
        None | Some(Resample::Nearest) => return resize_nearest(source, x, y, 3, arithmetic),
        Some(Resample::Lanczos) => Interpolation::Lanczos,
        Some(Resample::Bilinear) => Interpolation::Bilinear,
        Some(Resample::Bicubic) => Interpolation::Bicubic,
        Some(Resample::Box) => Interpolation::Box,
        Some(Resample::Hamming) => Interpolation::Hamming,
    };
    resize_bytes::<3>(source, x, y, interpolation, arithmetic)
}

/// Places the window in the result, surrounded by black.
fn framed(window: &[u8], x: Axis, y: Axis) -> RgbImage {
    let mut data = vec![0; x.length * y.length * 3];
    let rows = data.chunks_exact_mut(x.length * 3).skip(y.before);
    for (row, pixels) in rows.zip(window.chunks_exact(x.count * 3)) {
        row[x.before * 3..][..pixels.len()].copy_from_slice(pixels);
    }
    RgbImage { width: x.length, height: y.length, data }
}

/// Writes the values of bytes into `out`, `[3, height, width]` of `size`, as the processor computes them: with
/// torchvision, the factor is part of mean and standard deviation.
pub(super) fn to_pixels(
    image: &RgbImage,
    processor: &ImageProcessor,
    size: (usize, usize),
    out: &mut [f32],
) -> Result<(), ImageError> {
    let found = processor.pad.map_or((image.height, image.width), |[height, width]| (height, width));
    if found != size || image.height > size.0 || image.width > size.1 {
        return Err(ImageError::OtherSize {
            width: image.width,
            height: image.height,
            expected_width: size.1,
            expected_height: size.0,
        });
    }
    let (height, width) = size;
    if out.len() != 3 * height * width || image.data.len() != 3 * image.height * image.width {
        return Err(ImageError::BufferLength { expected: 3 * height * width, found: out.len() });
    }
    // Padding is 0 after normalization.
    out.fill(0.0);
    for (channel, plane) in out.chunks_exact_mut(height * width).enumerate() {
        let values = table(processor, channel);
        let rows = image.data.chunks_exact(image.width * 3);
        for (row, pixels) in plane.chunks_exact_mut(width).zip(rows) {
            for (value, pixel) in row.iter_mut().zip(pixels.as_chunks::<3>().0) {
                *value = values[usize::from(pixel[channel])];
            }
        }
    }
    Ok(())
}

/// The value of each byte in a channel.
fn table(processor: &ImageProcessor, channel: usize) -> [f32; 256] {
    let ImageProcessor { backend, rescale, normalize, .. } = *processor;
    let normalize = normalize.map(|Normalize { mean, std }| (mean[channel] as f32, std[channel] as f32));
    std::array::from_fn(|byte| {
        let byte = byte as f32;
        match (backend, rescale, normalize) {
            (_, None, None) => byte,
            (_, None, Some((mean, std))) => (byte - mean) / std,
            (Backend::Torchvision, Some(factor), None) => byte * factor as f32,
            (Backend::Torchvision, Some(factor), Some((mean, std))) => {
                let inverse = (1.0 / factor) as f32;
                (byte - mean * inverse) / (std * inverse)
            }
            (Backend::Pillow, Some(factor), None) => (f64::from(byte) * factor) as f32,
            (Backend::Pillow, Some(factor), Some((mean, std))) => {
                ((f64::from(byte) * factor) as f32 - mean) / std
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values are from transformers 5.24.
    #[test]
    fn sizes_are_those_of_transformers() {
        let check = |to, (height, width), expected| {
            assert_eq!(resized(to, height, width), expected, "{to:?} of {height}x{width}");
        };
        check(ResizeTo::Shortest(48), (57, 90), (48, 75));
        check(ResizeTo::Shortest(48), (90, 57), (75, 48));
        let within = ResizeTo::ShortestWithin { shortest: 48, longest: 60 };
        check(within, (57, 90), (38, 60));
        check(within, (57, 60), (48, 50));
        check(within, (48, 50), (48, 50));
        check(ResizeTo::Within([48, 60]), (57, 90), (38, 60));
        check(ResizeTo::Within([50, 50]), (100, 200), (25, 50));
        check(ResizeTo::Exactly([3, 4]), (100, 200), (3, 4));
        let patches = |most| ResizeTo::Patches(PatchGrids { side: 16, most });
        check(patches(256), (480, 640), (224, 288));
        check(patches(256), (1, 5000), (16, 4096));
        check(patches(1), (300, 200), (16, 16));
        check(patches(64), (37, 91), (80, 192));
    }

    /// 90x57 at 48 is 75 wide: transformers keeps the columns from 13, open_clip those from 14.
    #[test]
    fn the_center_is_rounded_down() {
        let check = |resized, length, backend, expected: (usize, usize)| {
            let axis = center(resized, length, backend);
            assert_eq!((axis.start, axis.before), expected, "{resized} to {length} with {backend:?}");
        };
        check(75, 48, Backend::Torchvision, (13, 0));
        check(75, 48, Backend::Pillow, (13, 0));
        check(7, 10, Backend::Torchvision, (0, 1));
        check(7, 10, Backend::Pillow, (0, 2));
        check(48, 48, Backend::Torchvision, (0, 0));
    }
}
