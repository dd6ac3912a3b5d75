//! Small copies of images, to look at.

use super::{Image, ImageError, Interpolation, Preprocess, ResizeMode, RgbImage, transform};

/// A copy that is turned as its EXIF orientation says, with its longer side at most `side` pixels. Nothing is enlarged, and
/// alpha is ignored.
///
/// # Errors
/// A `side` of 0.
pub fn thumbnail(image: &Image, side: usize) -> Result<RgbImage, ImageError> {
    let is_turned = image.orientation.is_some_and(|value| value >= 5);
    let (width, height) = if is_turned { (image.height, image.width) } else { (image.width, image.height) };
    let longest = width.max(height);
    let scaled = |length: usize| match longest > side {
        // At least a line of a panorama.
        true => ((length * side + longest / 2) / longest).max(side.min(1)),
        false => length,
    };
    let settings = Preprocess {
        size: (scaled(height), scaled(width)),
        interpolation: Interpolation::Bicubic,
        resize_mode: ResizeMode::Squash,
        apply_orientation: true,
        ..Preprocess::default()
    };
    transform(image, &settings)
}

impl RgbImage {
    /// The image as a PNG file.
    ///
    /// # Panics
    /// If there are not three bytes for each pixel.
    pub fn png(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let written = encoder.write_header().and_then(|mut writer| {
            writer.write_image_data(&self.data)?;
            writer.finish()
        });
        written.expect("memory takes every byte, and the sizes are right");
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{DecodeLimits, Samples, decode};

    fn gray(width: usize, height: usize, orientation: Option<u8>) -> Image {
        // Dark on the left, bright on the right.
        let row: Vec<u8> = (0..width).map(|x| (x * 255 / width.max(2)) as u8).collect();
        let samples = Samples::Gray(row.repeat(height));
        Image { width, height, orientation, transparency: None, samples }
    }

    #[test]
    fn the_longer_side_fits() {
        for (size, side, expected) in [
            ((640, 480), 256, (256, 192)),
            ((480, 640), 256, (192, 256)),
            ((100, 50), 256, (100, 50)),
            ((5000, 1), 64, (64, 1)),
        ] {
            let small = thumbnail(&gray(size.0, size.1, None), side).unwrap();
            assert_eq!((small.width, small.height), expected, "{size:?}");
            assert_eq!(small.data.len(), 3 * small.width * small.height);
        }
        assert_eq!(thumbnail(&gray(640, 480, None), 0).unwrap_err().code(), "bad-value");
    }

    #[test]
    fn a_turned_image_is_shown_turned() {
        // 6: the top of the image is at the right as stored, so that its left side comes to the top.
        let small = thumbnail(&gray(640, 480, Some(6)), 256).unwrap();
        assert_eq!((small.width, small.height), (192, 256));
        let (first, last) = (small.data[0], small.data[small.data.len() - 1]);
        assert!(first < 10 && last > 245, "{first}, {last}");
    }

    #[test]
    fn a_png_holds_the_pixels() {
        let image = RgbImage { width: 2, height: 1, data: vec![1, 2, 3, 4, 5, 6] };
        let read = decode(&image.png(), &DecodeLimits::default()).unwrap();
        assert_eq!((read.width, read.height, read.samples), (2, 1, Samples::Rgb(image.data)));
    }
}
