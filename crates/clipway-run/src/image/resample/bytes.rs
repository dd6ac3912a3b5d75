//! Resizing of bytes in fixed-point arithmetic, by the kernels for the processor.

use clipway_kernels::{ByteTaps, Isa, resize_columns, resize_rows};

use super::super::Interpolation;
use super::super::geometry::Axis;
use super::weights::Weights;
use super::{Passes, Source, copy_window, passes};

/// Resizes interleaved bytes of `CHANNELS` channels and returns the window, `[y.count, x.count, CHANNELS]`.
pub(crate) fn resize_bytes<const CHANNELS: usize>(
    source: Source<'_, u8>,
    x: Axis,
    y: Axis,
    interpolation: Interpolation,
) -> Vec<u8> {
    let isa = Isa::detect();
    let stride = source.width * CHANNELS;
    match passes(source.width, source.height, x, y, interpolation) {
        Passes::Copy => copy_window(source, x, y, CHANNELS),
        Passes::Horizontal(weights) => {
            let rows = source.rows(y.start, y.count, CHANNELS);
            resize_rows::<CHANNELS>(isa, rows, source.width, &fixed(&weights))
        }
        Passes::Vertical(weights) => {
            let wanted = x.start * CHANNELS..(x.start + x.count) * CHANNELS;
            resize_columns(isa, source.samples, stride, wanted, 0, &fixed(&weights))
        }
        Passes::HorizontalFirst(across, down) => {
            let span = down.span();
            let rows = source.rows(span.start, span.len(), CHANNELS);
            let between = resize_rows::<CHANNELS>(isa, rows, source.width, &fixed(&across));
            let stride = across.len() * CHANNELS;
            resize_columns(isa, &between, stride, 0..stride, span.start, &fixed(&down))
        }
        Passes::VerticalFirst(down, across) => {
            // Columns outside the span are left out, and the weights move with them.
            let span = across.span();
            let wanted = span.start * CHANNELS..span.end * CHANNELS;
            let between = resize_columns(isa, source.samples, stride, wanted, 0, &fixed(&down));
            let across = across.moved_left(span.start);
            resize_rows::<CHANNELS>(isa, &between, span.len(), &fixed(&across))
        }
    }
}

impl<'a> Source<'a, u8> {
    fn rows(&self, start: usize, count: usize, channels: usize) -> &'a [u8] {
        let stride = self.width * channels;
        &self.samples[start * stride..(start + count) * stride]
    }
}

/// Brings weights to fixed-point numbers, rounded as Pillow rounds them.
fn fixed(weights: &Weights) -> ByteTaps {
    let mut taps = ByteTaps::new();
    for position in 0..weights.len() {
        let fixed = weights.values(position).iter().map(|&weight| {
            let scaled = weight * f64::from(1 << ByteTaps::PRECISION);
            (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
        });
        taps.push(weights.inputs(position).start, fixed);
    }
    taps
}
