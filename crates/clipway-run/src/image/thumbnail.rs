//! Small copies of images, to look at.

use super::{Image, ImageError, Interpolation, Preprocess, ResizeMode, RgbImage, transform};

/// A PNG file of an image as it is shown: upright by its EXIF orientation, and at most `side` pixels a side. A smaller image
/// keeps its size; transparency is left out.
///
/// # Errors
/// [`ImageError::Setting`] for a side of 0.
pub fn thumbnail(image: &Image, side: usize) -> Result<Vec<u8>, ImageError> {
    let turned = image.orientation.is_some_and(|value| value >= 5);
    let (width, height) = if turned { (image.height, image.width) } else { (image.width, image.height) };
    let longest = width.max(height);
    let most = side.min(longest);
    let scaled = |length: usize| (length * most / longest).max(most.min(1));
    let shown = Preprocess {
        size: (scaled(height), scaled(width)),
        resize_mode: ResizeMode::Squash,
        interpolation: Interpolation::Bilinear,
        apply_orientation: true,
        ..Preprocess::default()
    };
    Ok(png_file(&transform(image, &shown)?))
}

/// An image as a PNG file.
pub(crate) fn png_file(image: &RgbImage) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, image.width as u32, image.height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(&image.data)?;
        writer.finish()
    });
    written.expect("memory takes every byte, and the sizes are right");
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{DecodeLimits, Samples, decode};

    #[test]
    fn a_thumbnail_is_small_and_upright() {
        // Four columns of red and four of blue, eight rows of pixels less than columns.
        let row = [[255, 0, 0].repeat(8), [0, 0, 255].repeat(8)].concat();
        let image = |orientation| Image {
            width: 16,
            height: 8,
            orientation,
            transparency: None,
            samples: Samples::Rgb(row.repeat(8)),
        };
        let read = |orientation, side| {
            let file = thumbnail(&image(orientation), side).expect("a thumbnail");
            let small = decode(&file, &DecodeLimits::default()).expect("a PNG file");
            let Samples::Rgb(data) = small.samples else { panic!("not RGB") };
            (small.width, small.height, data[..3].to_vec(), data[data.len() - 3..].to_vec())
        };
        let (red, blue) = (vec![255, 0, 0], vec![0, 0, 255]);
        assert_eq!(read(None, 4), (4, 2, red.clone(), blue.clone()));
        // A quarter turn, clockwise and back: the left side is on top, or at the bottom.
        assert_eq!(read(Some(6), 4), (2, 4, red.clone(), blue.clone()));
        assert_eq!(read(Some(8), 4), (2, 4, blue.clone(), red.clone()));
        // A small image keeps its size, and no side vanishes.
        assert_eq!(read(None, 500), (16, 8, red, blue));
        assert_eq!(read(None, 1).0, 1);
        assert!(thumbnail(&image(None), 0).is_err());
    }
}
