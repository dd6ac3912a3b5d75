//! Sizes and offsets of the evaluation transform, rounded as in torchvision and open_clip.

use super::{ImageError, Interpolation, Preprocess, ResizeMode};

/// Where the result is on one axis of the resized image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Axis {
    /// Length of the resized image.
    pub resized: usize,
    /// First resized position within the crop.
    pub start: usize,
    /// Number of resized positions within the crop.
    pub count: usize,
    /// Number of padding positions before them in the result.
    pub before: usize,
    /// Length of the result.
    pub length: usize,
}

/// The settings applied to an image of a given size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub horizontal: Axis,
    pub vertical: Axis,
    pub interpolation: Interpolation,
    pub fill: u8,
}

/// Computes sizes, crop and padding for an image of `width` by `height` pixels.
///
/// # Errors
/// [`ImageError::ResizedAway`] if the aspect ratio leaves a side without pixels.
pub(crate) fn plan(width: usize, height: usize, preprocess: &Preprocess) -> Result<Geometry, ImageError> {
    let (target_height, target_width) = preprocess.size;
    let mut interpolation = preprocess.interpolation;
    let mut fill = 0;
    let (resized_height, resized_width) = match preprocess.resize_mode {
        ResizeMode::Squash => preprocess.size,
        ResizeMode::Longest => {
            fill = preprocess.fill_color;
            let ratio = (height as f64 / target_height as f64).max(width as f64 / target_width as f64);
            (keep_ratio(height, ratio), keep_ratio(width, ratio))
        }
        ResizeMode::Shortest if target_height == target_width => {
            let short = width.min(height);
            let long = width.max(height);
            let resized_long = ((target_height * long) as f64 / short as f64) as usize;
            if width <= height { (resized_long, target_height) } else { (target_height, resized_long) }
        }
        ResizeMode::Shortest => {
            // For a rectangle, open_clip builds `ResizeKeepRatio` without the configured interpolation.
            interpolation = Interpolation::Bicubic;
            let ratio = (height as f64 / target_height as f64).min(width as f64 / target_width as f64);
            (keep_ratio(height, ratio), keep_ratio(width, ratio))
        }
    };
    if resized_height == 0 || resized_width == 0 {
        return Err(ImageError::ResizedAway { width, height, resized_width, resized_height });
    }
    Ok(Geometry {
        horizontal: center(resized_width, target_width),
        vertical: center(resized_height, target_height),
        interpolation,
        fill,
    })
}

/// Scales a side by a ratio, rounding halves to even.
fn keep_ratio(side: usize, ratio: f64) -> usize {
    (side as f64 / ratio).round_ties_even() as usize
}

/// Center-crops a side, or pads it if it is too short.
fn center(resized: usize, length: usize) -> Axis {
    if resized < length {
        Axis { resized, start: 0, count: resized, before: (length - resized) / 2, length }
    } else {
        let start = ((resized - length) as f64 / 2.0).round_ties_even() as usize;
        Axis { resized, start, count: length, before: 0, length }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(size: (usize, usize), target: (usize, usize), resize_mode: ResizeMode, expected: [usize; 6]) {
        let preprocess = Preprocess { size: target, resize_mode, ..Preprocess::default() };
        let geometry = plan(size.0, size.1, &preprocess).unwrap();
        let (x, y) = (geometry.horizontal, geometry.vertical);
        let found = [x.resized, x.start, x.before, y.resized, y.start, y.before];
        assert_eq!(found, expected, "{size:?} -> {target:?} {resize_mode:?}");
    }

    /// Expected values are from open_clip: resized, crop offset and padding of the width, then of the height.
    #[test]
    fn sizes_and_offsets() {
        check((640, 427), (224, 224), ResizeMode::Shortest, [335, 56, 0, 224, 0, 0]);
        check((225, 224), (224, 224), ResizeMode::Shortest, [225, 0, 0, 224, 0, 0]);
        check((227, 224), (224, 224), ResizeMode::Shortest, [227, 2, 0, 224, 0, 0]);
        check((640, 427), (224, 224), ResizeMode::Longest, [224, 0, 0, 149, 0, 37]);
        check((640, 427), (192, 320), ResizeMode::Squash, [320, 0, 0, 192, 0, 0]);
        check((640, 427), (192, 320), ResizeMode::Shortest, [320, 0, 0, 214, 11, 0]);
        check((37, 500), (224, 224), ResizeMode::Shortest, [224, 0, 0, 3027, 1402, 0]);
    }

    #[test]
    fn a_side_that_vanishes_is_an_error() {
        let preprocess = Preprocess { resize_mode: ResizeMode::Longest, ..Preprocess::default() };
        let error = plan(5000, 1, &preprocess).unwrap_err();
        assert_eq!(
            error,
            ImageError::ResizedAway { width: 5000, height: 1, resized_width: 224, resized_height: 0 }
        );
    }
}
