//! The evaluation transform: resize in the file's mode, crop or pad, convert to RGB.

use super::geometry::{Geometry, plan};
use super::resample::{Arithmetic, Source, WideSample, resize_bytes, resize_nearest, resize_wide};
use super::{
    Image, ImageError, Interpolation, PixelRule, Preprocess, RgbImage, Samples, color, orientation, processor,
};

/// Computes the bytes that open_clip has just before `ToTensor`, or an image processor just before normalization:
/// `[height, width, 3]`.
///
/// # Errors
/// [`ImageError::Setting`] for invalid settings, [`ImageError::ResizedAway`] if keeping the aspect ratio leaves no
/// pixels, [`ImageError::TooManyPixels`] if it leaves more than a processor can hold.
pub fn transform(image: &Image, preprocess: &Preprocess) -> Result<RgbImage, ImageError> {
    preprocess.validate()?;
    let turned;
    let image = match image.orientation {
        Some(value) if preprocess.apply_orientation && value > 1 => {
            turned = orientation::upright(image);
            &turned
        }
        _ => image,
    };
    match &preprocess.rule {
        PixelRule::OpenClip => {
            let geometry = plan(image.width, image.height, preprocess)?;
            Ok(resized_rgb(image, &geometry))
        }
        PixelRule::Transformers(processor) => processor::transform(image, processor),
        PixelRule::Timm(grids) => {
            processor::transform(image, &processor::of_timm(preprocess.interpolation, *grids))
        }
    }
}

fn resized_rgb(image: &Image, geometry: &Geometry) -> RgbImage {
    let fill = geometry.fill;
    match &image.samples {
        Samples::Bilevel(samples) => {
            let window = pick(image, samples, geometry);
            let fill = if fill == 0 { 0 } else { 255 };
            assemble(geometry, &window, fill, |value| [value; 3])
        }
        Samples::Palette { indices, colors } => {
            let window = pick(image, indices, geometry);
            assemble(geometry, &window, fill, |index| colors[index as usize])
        }
        Samples::Gray(samples) => {
            let window = weigh::<1>(image, samples, geometry);
            assemble(geometry, &window, fill, |value| [value; 3])
        }
        Samples::GrayAlpha(samples) => {
            let window = weigh_with_alpha::<2>(image, samples, geometry);
            assemble(geometry, window.as_chunks().0, [fill; 2], |[gray, _]| [gray; 3])
        }
        Samples::Rgb(samples) => {
            let window = weigh::<3>(image, samples, geometry);
            assemble(geometry, window.as_chunks().0, [fill; 3], |pixel| pixel)
        }
        Samples::Rgba(samples) => {
            let window = weigh_with_alpha::<4>(image, samples, geometry);
            assemble(geometry, window.as_chunks().0, [fill; 4], |[red, green, blue, _]| [red, green, blue])
        }
        Samples::Cmyk(samples) => {
            let window = weigh::<4>(image, samples, geometry);
            assemble(geometry, window.as_chunks().0, [fill; 4], color::cmyk_to_rgb)
        }
        Samples::Gray16(samples) => {
            let window = weigh_wide(image, samples, geometry);
            assemble(geometry, &window, fill.into(), |value| [color::gray16_to_byte(value); 3])
        }
        Samples::Gray16Swapped(samples) => {
            let window = weigh_wide(image, samples, geometry);
            let to_byte = |value: u16| color::gray16_to_byte(value.swap_bytes());
            assemble(geometry, &window, u16::from(fill).swap_bytes(), |value| [to_byte(value); 3])
        }
        Samples::Integer(samples) => {
            let window = weigh_wide(image, samples, geometry);
            assemble(geometry, &window, fill.into(), |value| [color::integer_to_byte(value); 3])
        }
        Samples::Real(samples) => {
            let window = weigh_wide(image, samples, geometry);
            assemble(geometry, &window, fill.into(), |value| [color::real_to_byte(value); 3])
        }
    }
}

fn source<'a, T>(image: &Image, samples: &'a [T]) -> Source<'a, T> {
    Source { samples, width: image.width, height: image.height }
}

fn pick<T: Copy>(image: &Image, samples: &[T], geometry: &Geometry) -> Vec<T> {
    resize_nearest(source(image, samples), geometry.horizontal, geometry.vertical, 1, Arithmetic::Pillow)
}

fn weigh<const CHANNELS: usize>(image: &Image, samples: &[u8], geometry: &Geometry) -> Vec<u8> {
    let source = source(image, samples);
    let (x, y) = (geometry.horizontal, geometry.vertical);
    match geometry.interpolation {
        Interpolation::Nearest => resize_nearest(source, x, y, CHANNELS, Arithmetic::Pillow),
        interpolation => resize_bytes::<CHANNELS>(source, x, y, interpolation, Arithmetic::Pillow),
    }
}

/// Resizes pixels whose last channel is alpha: transparent pixels have no weight.
fn weigh_with_alpha<const CHANNELS: usize>(image: &Image, samples: &[u8], geometry: &Geometry) -> Vec<u8> {
    let same_size = geometry.horizontal.resized == image.width && geometry.vertical.resized == image.height;
    if same_size || geometry.interpolation == Interpolation::Nearest {
        return weigh::<CHANNELS>(image, samples, geometry);
    }
    let mut window = weigh::<CHANNELS>(image, &color::premultiply::<CHANNELS>(samples), geometry);
    color::unpremultiply::<CHANNELS>(&mut window);
    window
}

fn weigh_wide<T: WideSample>(image: &Image, samples: &[T], geometry: &Geometry) -> Vec<T> {
    let source = source(image, samples);
    let (x, y) = (geometry.horizontal, geometry.vertical);
    match geometry.interpolation {
        Interpolation::Nearest => resize_nearest(source, x, y, 1, Arithmetic::Pillow),
        interpolation => resize_wide(source, x, y, interpolation),
    }
}

/// Places the window in the result, surrounded by padding, and converts every pixel to RGB.
fn assemble<T: Copy>(geometry: &Geometry, window: &[T], fill: T, to_rgb: impl Fn(T) -> [u8; 3]) -> RgbImage {
    let (x, y) = (geometry.horizontal, geometry.vertical);
    let mut data = to_rgb(fill).repeat(x.length * y.length);
    let rows = data.chunks_exact_mut(x.length * 3).skip(y.before);
    for (row, pixels) in rows.zip(window.chunks_exact(x.count)) {
        for (out, &pixel) in row[x.before * 3..].as_chunks_mut().0.iter_mut().zip(pixels) {
            *out = to_rgb(pixel);
        }
    }
    RgbImage { width: x.length, height: y.length, data }
}
