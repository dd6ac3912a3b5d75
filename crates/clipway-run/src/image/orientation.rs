//! Rotates an image by its EXIF orientation.

use super::exif::Exif;
use super::{Image, Samples};

/// Reads the orientation, 1 to 8, from EXIF data, if stated.
pub(super) fn from_exif(exif: &[u8]) -> Option<u8> {
    Exif::new(exif)?.orientation()
}

/// Rotates an image by its orientation; the result has none.
pub(super) fn upright(image: &Image) -> Image {
    let turn = Turn { width: image.width, height: image.height, value: image.orientation.unwrap_or(1) };
    let samples = match &image.samples {
        Samples::Bilevel(samples) => Samples::Bilevel(turn.apply::<u8, 1>(samples)),
        Samples::Gray(samples) => Samples::Gray(turn.apply::<u8, 1>(samples)),
        Samples::GrayAlpha(samples) => Samples::GrayAlpha(turn.apply::<u8, 2>(samples)),
        Samples::Palette { indices, colors } => {
            Samples::Palette { indices: turn.apply::<u8, 1>(indices), colors: colors.clone() }
        }
        Samples::Rgb(samples) => Samples::Rgb(turn.apply::<u8, 3>(samples)),
        Samples::Rgba(samples) => Samples::Rgba(turn.apply::<u8, 4>(samples)),
        Samples::Cmyk(samples) => Samples::Cmyk(turn.apply::<u8, 4>(samples)),
        Samples::Gray16(samples) => Samples::Gray16(turn.apply::<u16, 1>(samples)),
        Samples::Gray16Swapped(samples) => Samples::Gray16Swapped(turn.apply::<u16, 1>(samples)),
        Samples::Integer(samples) => Samples::Integer(turn.apply::<i32, 1>(samples)),
        Samples::Real(samples) => Samples::Real(turn.apply::<f32, 1>(samples)),
    };
    let (width, height) = turn.size();
    Image { width, height, orientation: None, transparency: image.transparency.clone(), samples }
}

/// A rotation or reflection of an image of a given size.
struct Turn {
    width: usize,
    height: usize,
    value: u8,
}

impl Turn {
    fn size(&self) -> (usize, usize) {
        if self.value >= 5 { (self.height, self.width) } else { (self.width, self.height) }
    }

    /// Returns the source column and row of a pixel in the result.
    fn origin(&self, x: usize, y: usize) -> (usize, usize) {
        let (right, bottom) = (self.width - 1, self.height - 1);
        match self.value {
            2 => (right - x, y),
            3 => (right - x, bottom - y),
            4 => (x, bottom - y),
            5 => (y, x),
            6 => (y, bottom - x),
            7 => (right - y, bottom - x),
            8 => (right - y, x),
            _ => (x, y),
        }
    }

    fn apply<T: Copy, const CHANNELS: usize>(&self, samples: &[T]) -> Vec<T> {
        let (width, height) = self.size();
        let mut out = Vec::with_capacity(samples.len());
        for y in 0..height {
            for x in 0..width {
                let (column, row) = self.origin(x, y);
                let at = (row * self.width + column) * CHANNELS;
                out.extend_from_slice(&samples[at..at + CHANNELS]);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The image is `1 2 3 / 4 5 6`; the expected pixels are from Pillow's `exif_transpose`.
    fn check(orientation: u8, width: usize, expected: [u8; 6]) {
        let image = Image {
            width: 3,
            height: 2,
            orientation: Some(orientation),
            transparency: None,
            samples: Samples::Gray(vec![1, 2, 3, 4, 5, 6]),
        };
        let turned = upright(&image);
        assert_eq!((turned.width, turned.height), (width, 6 / width), "orientation {orientation}");
        assert_eq!(turned.samples, Samples::Gray(expected.to_vec()), "orientation {orientation}");
    }

    #[test]
    fn every_orientation() {
        check(1, 3, [1, 2, 3, 4, 5, 6]);
        check(2, 3, [3, 2, 1, 6, 5, 4]);
        check(3, 3, [6, 5, 4, 3, 2, 1]);
        check(4, 3, [4, 5, 6, 1, 2, 3]);
        check(5, 2, [1, 4, 2, 5, 3, 6]);
        check(6, 2, [4, 1, 5, 2, 6, 3]);
        check(7, 2, [6, 3, 5, 2, 4, 1]);
        check(8, 2, [3, 6, 2, 5, 1, 4]);
    }

    #[test]
    fn orientation_of_exif() {
        let exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        assert_eq!(from_exif(exif), Some(6));
        assert_eq!(from_exif(&exif[..20]), None);
        assert_eq!(from_exif(b"II*\0\xff\xff\xff\xff"), None);
    }
}
