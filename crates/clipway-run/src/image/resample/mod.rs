//! Antialiased resizing with the arithmetic of Pillow 13, or of PyTorch 2.15 on byte tensors.
//!
//! The weights are computed in `f64`. Bytes are resized in two fixed-point passes with a rounded byte in between; wider
//! samples in two `f64` passes with a rounded sample in between. Only the rows and columns that the window needs are
//! computed.

mod bytes;
mod nearest;
mod weights;
mod wide;

pub(crate) use bytes::resize_bytes;
pub(crate) use nearest::resize_nearest;
pub(crate) use wide::{WideSample, resize_wide};

use super::Interpolation;
use super::geometry::Axis;
use weights::Weights;

/// Whose arithmetic is used to resize bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    /// Pillow's: 22-bit weights, and the pass that shrinks much more comes first.
    Pillow,
    /// PyTorch's: 16-bit weights with as many fractional bits as the largest allows, and rows first.
    Torch,
}

/// An image's samples with their layout.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a, T> {
    pub samples: &'a [T],
    pub width: usize,
    pub height: usize,
}

/// The passes of a resize, with their weights for the window.
enum Passes {
    Copy,
    Horizontal(Weights),
    Vertical(Weights),
    HorizontalFirst(Weights, Weights),
    VerticalFirst(Weights, Weights),
}

/// Chooses the passes like the library.
fn passes(
    width: usize,
    height: usize,
    x: Axis,
    y: Axis,
    interpolation: Interpolation,
    arithmetic: Arithmetic,
) -> Passes {
    let weights = |side, axis: Axis| Weights::new(side, axis, interpolation);
    match (x.resized != width, y.resized != height) {
        (false, false) => Passes::Copy,
        (true, false) => Passes::Horizontal(weights(width, x)),
        (false, true) => Passes::Vertical(weights(height, y)),
        (true, true) => {
            let (horizontal, vertical) = (weights(width, x), weights(height, y));
            if arithmetic == Arithmetic::Pillow && vertical_first(width, height, x.resized, y.resized) {
                Passes::VerticalFirst(vertical, horizontal)
            } else {
                Passes::HorizontalFirst(horizontal, vertical)
            }
        }
    }
}

/// Whether the vertical pass comes first: it does if it shrinks much more.
///
/// The rule was inferred from Pillow 13's results; the byte between the passes makes the order visible.
fn vertical_first(width: usize, height: usize, resized_width: usize, resized_height: usize) -> bool {
    let lost_rows = height as i64 - resized_height as i64;
    let lost_columns = width as i64 - resized_width as i64;
    lost_rows > 0 && lost_rows > 2 * lost_columns
}

/// Copies the window of an image whose size does not change.
fn copy_window<T: Copy>(source: Source<'_, T>, x: Axis, y: Axis, channels: usize) -> Vec<T> {
    let stride = source.width * channels;
    let mut out = Vec::with_capacity(x.count * y.count * channels);
    for row in source.samples.chunks_exact(stride).skip(y.start).take(y.count) {
        out.extend_from_slice(&row[x.start * channels..(x.start + x.count) * channels]);
    }
    out
}
