//! The built-in images as small files, so that a report can show what was compared.

use super::probes;
use crate::image::{Image, RgbImage, Samples, png_file};

/// Longest side of a picture, in pixels.
const SIDE: usize = 96;

/// The built-in images as PNG files of at most 96 pixels a side, with their names.
pub fn built_in_pictures() -> Vec<(String, Vec<u8>)> {
    probes::images().into_iter().map(|(name, image)| (name, picture(&image))).collect()
}

/// A picture of an image: every pixel is the nearest one of the image.
fn picture(image: &Image) -> Vec<u8> {
    let Samples::Rgb(data) = &image.samples else { unreachable!("the built-in images are RGB") };
    let longest = image.width.max(image.height);
    let scaled = |side: usize| (side * SIDE.min(longest) / longest).max(1);
    let (width, height) = (scaled(image.width), scaled(image.height));
    let mut pixels = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            let place = y * image.height / height * image.width + x * image.width / width;
            pixels.extend_from_slice(&data[place * 3..][..3]);
        }
    }
    png_file(&RgbImage { width, height, data: pixels })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{DecodeLimits, decode};

    #[test]
    fn pictures_are_small_and_show_the_images() {
        let pictures = built_in_pictures();
        let bytes: usize = pictures.iter().map(|(_, file)| file.len()).sum();
        assert!(bytes < 64 << 10, "{bytes} bytes");
        for ((name, file), (_, image)) in pictures.iter().zip(probes::images()) {
            let small = decode(file, &DecodeLimits::default()).unwrap();
            assert_eq!(small.width.max(small.height), 96.min(image.width.max(image.height)), "{name}");
            let (Samples::Rgb(small), Samples::Rgb(large)) = (&small.samples, &image.samples) else {
                panic!("{name} is not RGB")
            };
            assert_eq!(small[..3], large[..3], "{name}: the first pixel");
        }
    }
}
