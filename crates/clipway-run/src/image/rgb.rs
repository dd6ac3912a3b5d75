//! Converts images to RGB before resizing, as transformers' processors do.

use super::{Image, Samples, Transparency, color};

/// Converts an image to RGB bytes, `[height, width, 3]`, like Pillow's `convert("RGB")`. With `over_white`, transparent
/// parts are composited over white, as in transformers 5.
pub(super) fn to_rgb(image: &Image, over_white: bool) -> Vec<u8> {
    let transparency = image.transparency.as_ref().filter(|_| over_white);
    match (&image.samples, transparency) {
        (Samples::Palette { indices, colors }, Some(Transparency::Alphas(alphas))) => {
            let blended: Vec<[u8; 3]> =
                colors.iter().zip(alphas.iter()).map(|(&color, &alpha)| blend(color, alpha)).collect();
            pixels(indices.iter().map(|&index| blended[usize::from(index)]))
        }
        (samples, Some(Transparency::Color(transparent))) => {
            let mut out = opaque(samples);
            for pixel in out.as_chunks_mut().0 {
                if pixel == transparent {
                    *pixel = [255; 3];
                }
            }
            out
        }
        (Samples::Rgba(samples), None) if over_white => {
            let samples = samples.as_chunks().0.iter();
            pixels(samples.map(|&[red, green, blue, alpha]| blend([red, green, blue], alpha)))
        }
        (Samples::GrayAlpha(samples), None) if over_white => {
            pixels(samples.as_chunks().0.iter().map(|&[gray, alpha]| blend([gray; 3], alpha)))
        }
        (samples, _) => opaque(samples),
    }
}

/// The colors of the samples, ignoring transparency.
fn opaque(samples: &Samples) -> Vec<u8> {
    match samples {
        Samples::Bilevel(samples) | Samples::Gray(samples) => pixels(samples.iter().map(|&gray| [gray; 3])),
        Samples::GrayAlpha(samples) => pixels(samples.as_chunks().0.iter().map(|&[gray, _]| [gray; 3])),
        Samples::Palette { indices, colors } => {
            pixels(indices.iter().map(|&index| colors[usize::from(index)]))
        }
        Samples::Rgb(samples) => samples.clone(),
        Samples::Rgba(samples) => {
            pixels(samples.as_chunks().0.iter().map(|&[red, green, blue, _]| [red, green, blue]))
        }
        Samples::Cmyk(samples) => pixels(samples.as_chunks().0.iter().copied().map(color::cmyk_to_rgb)),
        Samples::Gray16(samples) => pixels(samples.iter().map(|&gray| [color::gray16_to_byte(gray); 3])),
        Samples::Gray16Swapped(samples) => {
            pixels(samples.iter().map(|gray| [color::gray16_to_byte(gray.swap_bytes()); 3]))
        }
        Samples::Integer(samples) => pixels(samples.iter().map(|&gray| [color::integer_to_byte(gray); 3])),
        Samples::Real(samples) => pixels(samples.iter().map(|&gray| [color::real_to_byte(gray); 3])),
    }
}

fn pixels(pixels: impl ExactSizeIterator<Item = [u8; 3]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(pixels.len() * 3);
    pixels.for_each(|pixel| out.extend(pixel));
    out
}

/// Composites a color over white with the integer arithmetic of Pillow's `alpha_composite`.
fn blend(color: [u8; 3], alpha: u8) -> [u8; 3] {
    const BITS: u32 = 7;
    if alpha == 0 {
        return [255; 3];
    }
    let above = u32::from(alpha) << BITS;
    let below = (255 << BITS) - above;
    color.map(|value| {
        let sum = u32::from(value) * above + 255 * below + (0x80 << BITS);
        ((((sum >> 8) + sum) >> 8) >> BITS) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(samples: Samples, transparency: Option<Transparency>, expected: [[u8; 3]; 2]) {
        let image = Image { width: 2, height: 1, orientation: None, transparency, samples };
        let [over_white, plain] = [true, false].map(|over_white| to_rgb(&image, over_white));
        assert_eq!([&over_white[..3], &plain[..3]], [expected[0].as_slice(), expected[1].as_slice()]);
    }

    /// Expected values are from Pillow 13: `alpha_composite` over white, and `convert("RGB")`.
    #[test]
    fn what_is_transparent_is_laid_over_white() {
        check(Samples::Rgba(vec![10, 128, 255, 100, 0, 0, 0, 0]), None, [[159, 205, 255], [10, 128, 255]]);
        check(Samples::Rgba(vec![10, 128, 255, 0, 0, 0, 0, 0]), None, [[255; 3], [10, 128, 255]]);
        check(Samples::GrayAlpha(vec![7, 1, 0, 0]), None, [[254; 3], [7; 3]]);
        let color = |rgb| Some(Transparency::Color(rgb));
        check(Samples::Gray(vec![44, 45]), color([44; 3]), [[255; 3], [44; 3]]);
        check(Samples::Gray(vec![44, 45]), color([45; 3]), [[44; 3], [44; 3]]);
        check(Samples::Rgb(vec![1, 2, 3, 4, 5, 6]), color([1, 2, 3]), [[255; 3], [1, 2, 3]]);
        // A 16-bit sample is compared as the byte that it becomes.
        check(Samples::Gray16(vec![300, 1]), color([255; 3]), [[255; 3], [255; 3]]);
        let palette =
            |indices| Samples::Palette { indices, colors: Box::new(std::array::from_fn(|i| [i as u8; 3])) };
        let alphas = Transparency::Alphas(Box::new(std::array::from_fn(|i| i as u8)));
        check(palette(vec![100, 0]), Some(alphas.clone()), [[194; 3], [100; 3]]);
        check(palette(vec![0, 100]), Some(alphas), [[255; 3], [0; 3]]);
    }
}
