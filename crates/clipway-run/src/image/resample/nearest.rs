//! Resizing by selecting pixels.

use super::super::geometry::Axis;
use super::{Arithmetic, Source};

/// Selects the pixel under the center of each output pixel and returns the window, `[y.count, x.count]`.
pub(crate) fn resize_nearest<T: Copy>(
    source: Source<'_, T>,
    x: Axis,
    y: Axis,
    channels: usize,
    arithmetic: Arithmetic,
) -> Vec<T> {
    let picks = match arithmetic {
        Arithmetic::Pillow => picks,
        Arithmetic::Torch => exact_picks,
    };
    let columns = picks(source.width, x);
    let stride = source.width * channels;
    let mut out = Vec::with_capacity(x.count * y.count * channels);
    for row in picks(source.height, y) {
        let row = &source.samples[row * stride..(row + 1) * stride];
        for &column in &columns {
            out.extend_from_slice(&row[column * channels..(column + 1) * channels]);
        }
    }
    out
}

/// Lists the input position of each output position of a window.
///
/// The position is accumulated step by step, as in Pillow: its rounding error affects the result.
fn picks(side: usize, axis: Axis) -> Vec<usize> {
    let scale = side as f64 / axis.resized as f64;
    let mut position = scale * 0.5;
    let mut picks = Vec::with_capacity(axis.count);
    for output in 0..axis.start + axis.count {
        if output >= axis.start {
            picks.push((position as usize).min(side - 1));
        }
        position += scale;
    }
    picks
}

/// The same for PyTorch's `nearest-exact`, which computes each position separately in `f32`.
fn exact_picks(side: usize, axis: Axis) -> Vec<usize> {
    let scale = side as f32 / axis.resized as f32;
    let positions = axis.start..axis.start + axis.count;
    positions
        .map(|output| {
            let source = scale * (output as f32 + 0.5) - 0.5;
            ((source + 0.5).floor() as usize).min(side - 1)
        })
        .collect()
}
