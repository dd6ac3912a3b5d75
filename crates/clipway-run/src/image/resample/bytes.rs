//! Resizing of bytes in fixed-point arithmetic, with kernels for the processor.
//!
//! PyTorch's weights have fewer fractional bits than the kernels'. Shifted left, they give the same bytes: the half
//! added before rounding and the discarded bits shift with them.

use clipway_kernels::{ByteTaps, Isa, resize_columns, resize_rows};

use super::super::Interpolation;
use super::super::geometry::Axis;
use super::weights::Weights;
use super::{Arithmetic, Passes, Source, copy_window, passes};

/// Resizes interleaved bytes of `CHANNELS` channels and returns the window, `[y.count, x.count, CHANNELS]`.
pub(crate) fn resize_bytes<const CHANNELS: usize>(
    source: Source<'_, u8>,
    x: Axis,
    y: Axis,
    interpolation: Interpolation,
    arithmetic: Arithmetic,
) -> Vec<u8> {
    let isa = Isa::detect();
    let stride = source.width * CHANNELS;
    let bits = |side, axis: Axis| match arithmetic {
        Arithmetic::Pillow => ByteTaps::PRECISION,
        Arithmetic::Torch => torch_bits(Weights::largest(side, axis.resized, interpolation)),
    };
    let fixed_x = |weights: &Weights| fixed(weights, bits(source.width, x));
    let fixed_y = |weights: &Weights| fixed(weights, bits(source.height, y));
    match passes(source.width, source.height, x, y, interpolation, arithmetic) {
        Passes::Copy => copy_window(source, x, y, CHANNELS),
        Passes::Horizontal(weights) => {
            let rows = source.rows(y.start, y.count, CHANNELS);
            resize_rows::<CHANNELS>(isa, rows, source.width, &fixed_x(&weights))
        }
        Passes::Vertical(weights) => {
            let wanted = x.start * CHANNELS..(x.start + x.count) * CHANNELS;
            resize_columns(isa, source.samples, stride, wanted, 0, &fixed_y(&weights))
        }
        Passes::HorizontalFirst(across, down) => {
            let span = down.span();
            let rows = source.rows(span.start, span.len(), CHANNELS);
            let between = resize_rows::<CHANNELS>(isa, rows, source.width, &fixed_x(&across));
            let stride = across.len() * CHANNELS;
            resize_columns(isa, &between, stride, 0..stride, span.start, &fixed_y(&down))
        }
        Passes::VerticalFirst(down, across) => {
            // Columns outside the span are skipped, and the weights move with them.
            let span = across.span();
            let wanted = span.start * CHANNELS..span.end * CHANNELS;
            let between = resize_columns(isa, source.samples, stride, wanted, 0, &fixed_y(&down));
            let across = across.moved_left(span.start);
            resize_rows::<CHANNELS>(isa, &between, span.len(), &fixed_x(&across))
        }
    }
}

impl<'a> Source<'a, u8> {
    fn rows(&self, start: usize, count: usize, channels: usize) -> &'a [u8] {
        let stride = self.width * channels;
        &self.samples[start * stride..(start + count) * stride]
    }
}

/// Number of fractional bits in PyTorch's weights: the most with which the largest weight of an axis fits into 16 bits,
/// but at most 22.
fn torch_bits(largest: f64) -> u32 {
    let fits = |bits: &u32| ((0.5 + largest * f64::from(1 << (bits + 1))) as i32) < 1 << 15;
    (0..ByteTaps::PRECISION).take_while(fits).count() as u32
}

/// Converts weights to fixed point with this many fractional bits, rounded as in Pillow and PyTorch.
fn fixed(weights: &Weights, bits: u32) -> ByteTaps {
    let mut taps = ByteTaps::new();
    for position in 0..weights.len() {
        let fixed = weights.values(position).iter().map(|&weight| {
            let scaled = weight * f64::from(1 << bits);
            ((if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32) << (ByteTaps::PRECISION - bits)
        });
        taps.push(weights.inputs(position).start, fixed);
    }
    taps
}
