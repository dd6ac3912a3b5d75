//! Resizing of bytes in fixed-point arithmetic.
//!
//! A sum of bytes times 22-bit weights is a whole number below 2^53, so `f64` holds it exactly: the horizontal
//! pass sums in `f64`, because every processor multiplies those in vectors, and 32-bit integers not.

use super::super::Interpolation;
use super::super::geometry::Axis;
use super::weights::{PRECISION, Weights};
use super::{Passes, Source, copy_window, passes};

/// Resizes interleaved bytes of `CHANNELS` channels and returns the window, `[y.count, x.count, CHANNELS]`.
pub(crate) fn resize_bytes<const CHANNELS: usize>(
    source: Source<'_, u8>,
    x: Axis,
    y: Axis,
    interpolation: Interpolation,
) -> Vec<u8> {
    match passes(source.width, source.height, x, y, interpolation) {
        Passes::Copy => copy_window(source, x, y, CHANNELS),
        Passes::Horizontal(weights) => {
            let rows = source.rows(y.start, y.count, CHANNELS);
            horizontal::<CHANNELS>(rows, source.width, &weights)
        }
        Passes::Vertical(weights) => {
            vertical(source.samples, source.width * CHANNELS, columns::<CHANNELS>(x), 0, &weights)
        }
        Passes::HorizontalFirst(across, down) => {
            let span = down.span();
            let rows = source.rows(span.start, span.len(), CHANNELS);
            let between = horizontal::<CHANNELS>(rows, source.width, &across);
            let stride = across.len() * CHANNELS;
            vertical(&between, stride, 0..stride, span.start, &down)
        }
        Passes::VerticalFirst(down, across) => {
            // Columns outside the span are left out, and the weights move with them.
            let span = across.span();
            let wanted = span.start * CHANNELS..span.end * CHANNELS;
            let between = vertical(source.samples, source.width * CHANNELS, wanted, 0, &down);
            let across = across.moved_left(span.start);
            horizontal::<CHANNELS>(&between, span.len(), &across)
        }
    }
}

fn columns<const CHANNELS: usize>(axis: Axis) -> std::ops::Range<usize> {
    axis.start * CHANNELS..(axis.start + axis.count) * CHANNELS
}

impl<'a> Source<'a, u8> {
    fn rows(&self, start: usize, count: usize, channels: usize) -> &'a [u8] {
        let stride = self.width * channels;
        &self.samples[start * stride..(start + count) * stride]
    }
}

/// Pixels that the inner loop of the horizontal pass takes at once.
const STEP: usize = 4;

/// Resizes each of the given rows of `width` pixels.
fn horizontal<const CHANNELS: usize>(rows: &[u8], width: usize, weights: &Weights) -> Vec<u8> {
    let taps = SpreadWeights::new(weights, CHANNELS);
    let span = weights.span();
    let used = span.start * CHANNELS..span.end * CHANNELS;
    let stride = width * CHANNELS;
    let mut out = vec![0; rows.len() / stride * weights.len() * CHANNELS];
    // Zeros behind the row: the last step may reach past its end, where its weights are zero.
    let mut numbers = vec![0.0; used.len() + STEP * CHANNELS];
    for (row, out) in rows.chunks_exact(stride).zip(out.chunks_exact_mut(weights.len() * CHANNELS)) {
        for (number, &byte) in numbers.iter_mut().zip(&row[used.clone()]) {
            *number = f64::from(byte);
        }
        for (position, out) in out.as_chunks_mut::<CHANNELS>().0.iter_mut().enumerate() {
            let taps = taps.at(position);
            let first = (weights.inputs(position).start - span.start) * CHANNELS;
            *out = dot::<CHANNELS>(&numbers[first..first + taps.len()], taps);
        }
    }
    out
}

/// Sums numbers times weights for each channel and rounds to bytes.
#[inline(always)]
fn dot<const CHANNELS: usize>(numbers: &[f64], taps: &[f64]) -> [u8; CHANNELS] {
    let mut lanes = [[0.0_f64; CHANNELS]; STEP];
    let numbers = numbers.as_chunks::<CHANNELS>().0.as_chunks::<STEP>().0;
    let taps = taps.as_chunks::<CHANNELS>().0.as_chunks::<STEP>().0;
    for (numbers, taps) in numbers.iter().zip(taps) {
        for step in 0..STEP {
            for channel in 0..CHANNELS {
                lanes[step][channel] += numbers[step][channel] * taps[step][channel];
            }
        }
    }
    std::array::from_fn(|channel| {
        let sum: f64 = lanes.iter().map(|lane| lane[channel]).sum();
        to_byte(sum as i32)
    })
}

/// Fixed-point weights, repeated for each channel, as `f64`; each list is filled up with zeros to a multiple
/// of [`STEP`] pixels.
struct SpreadWeights {
    values: Vec<f64>,
    offsets: Vec<usize>,
}

impl SpreadWeights {
    fn new(weights: &Weights, channels: usize) -> Self {
        let mut spread = Self { values: Vec::new(), offsets: vec![0] };
        for position in 0..weights.len() {
            for weight in weights.fixed(position) {
                spread.values.extend(std::iter::repeat_n(f64::from(weight), channels));
            }
            let filled = spread.values.len().next_multiple_of(STEP * channels);
            spread.values.resize(filled, 0.0);
            spread.offsets.push(filled);
        }
        spread
    }

    fn at(&self, position: usize) -> &[f64] {
        &self.values[self.offsets[position]..self.offsets[position + 1]]
    }
}

/// Bytes of a row that the vertical pass keeps in registers.
const LANES: usize = 16;

/// Resizes the columns of bytes in `wanted`; input position `skipped` is the first row of `samples`.
fn vertical(
    samples: &[u8],
    stride: usize,
    wanted: std::ops::Range<usize>,
    skipped: usize,
    weights: &Weights,
) -> Vec<u8> {
    let mut out = vec![0; weights.len() * wanted.len()];
    for (position, out) in out.chunks_exact_mut(wanted.len()).enumerate() {
        let inputs = weights.inputs(position);
        let taps: Vec<i32> = weights.fixed(position).collect();
        let rows = &samples[(inputs.start - skipped) * stride..(inputs.end - skipped) * stride];
        let (blocks, rest) = out.as_chunks_mut::<LANES>();
        let mut column = wanted.start;
        for block in blocks {
            let mut sums = [0_i32; LANES];
            for (row, &tap) in rows.chunks_exact(stride).zip(&taps) {
                let row: &[u8; LANES] = row[column..].first_chunk().expect("a block lies in its row");
                for lane in 0..LANES {
                    sums[lane] = sums[lane].wrapping_add(i32::from(row[lane]) * tap);
                }
            }
            *block = sums.map(to_byte);
            column += LANES;
        }
        for byte in rest {
            let sum = rows
                .chunks_exact(stride)
                .zip(&taps)
                .fold(0_i32, |sum, (row, &tap)| sum.wrapping_add(i32::from(row[column]) * tap));
            *byte = to_byte(sum);
            column += 1;
        }
    }
    out
}

/// Rounds a fixed-point number to a byte.
fn to_byte(sum: i32) -> u8 {
    (sum.wrapping_add(1 << (PRECISION - 1)) >> PRECISION).clamp(0, 255) as u8
}
