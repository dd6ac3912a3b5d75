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
const STEP: usize = 2;

/// Resizes each of the given rows of `width` pixels.
fn horizontal<const CHANNELS: usize>(rows: &[u8], width: usize, weights: &Weights) -> Vec<u8> {
    // The loops below need the number of sums as a constant, and constants cannot be multiplied there.
    match CHANNELS {
        1 => horizontal_in_lanes::<CHANNELS, STEP>(rows, width, weights),
        2 => horizontal_in_lanes::<CHANNELS, { 2 * STEP }>(rows, width, weights),
        3 => horizontal_in_lanes::<CHANNELS, { 3 * STEP }>(rows, width, weights),
        _ => horizontal_in_lanes::<CHANNELS, { 4 * STEP }>(rows, width, weights),
    }
}

/// As [`horizontal`], with `LANES` sums for each row: one for each channel of [`STEP`] pixels.
///
/// Two rows go together, so that each weight is loaded once for both.
fn horizontal_in_lanes<const CHANNELS: usize, const LANES: usize>(
    rows: &[u8],
    width: usize,
    weights: &Weights,
) -> Vec<u8> {
    let taps = SpreadWeights::new(weights, CHANNELS);
    let span = weights.span();
    let used = span.start * CHANNELS..span.end * CHANNELS;
    let stride = width * CHANNELS;
    let out_stride = weights.len() * CHANNELS;
    let mut out = vec![0; rows.len() / stride * out_stride];
    // Zeros behind the row: the last step may reach past its end, where its weights are zero.
    let mut upper = vec![0.0; used.len() + LANES];
    let mut lower = upper.clone();
    let mut unpaired = vec![0; out_stride];
    for (pair, out) in rows.chunks(2 * stride).zip(out.chunks_mut(2 * out_stride)) {
        let (upper_out, mut lower_out) = out.split_at_mut(out_stride);
        if lower_out.is_empty() {
            lower_out = &mut unpaired;
        }
        widen(&pair[used.clone()], &mut upper);
        if let Some(row) = pair.get(stride..) {
            widen(row.get(used.clone()).unwrap_or_default(), &mut lower);
        }
        let upper_out = upper_out.as_chunks_mut::<CHANNELS>().0.iter_mut();
        let lower_out = lower_out.as_chunks_mut::<CHANNELS>().0.iter_mut();
        for (position, (upper_out, lower_out)) in upper_out.zip(lower_out).enumerate() {
            let taps = taps.at(position);
            let first = (weights.inputs(position).start - span.start) * CHANNELS;
            let inputs = first..first + taps.len();
            let sums = sum_products::<LANES>(&upper[inputs.clone()], &lower[inputs], taps);
            *upper_out =
                std::array::from_fn(|channel| whole_to_byte(sums[0][channel] + sums[0][CHANNELS + channel]));
            *lower_out =
                std::array::from_fn(|channel| whole_to_byte(sums[1][channel] + sums[1][CHANNELS + channel]));
        }
    }
    out
}

/// Converts bytes to numbers; what `numbers` holds beyond them stays.
fn widen(bytes: &[u8], numbers: &mut [f64]) {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let (wide_blocks, wide_rest) = numbers[..bytes.len()].as_chunks_mut::<BLOCK>();
    for (wide, block) in wide_blocks.iter_mut().zip(blocks) {
        *wide = block.map(f64::from);
    }
    for (wide, &byte) in wide_rest.iter_mut().zip(rest) {
        *wide = f64::from(byte);
    }
}

/// Sums numbers times weights for two rows, one sum for each position modulo `LANES`.
#[inline(always)]
fn sum_products<const LANES: usize>(upper: &[f64], lower: &[f64], taps: &[f64]) -> [[f64; LANES]; 2] {
    let mut sums = [[0.0; LANES]; 2];
    let rows = upper.as_chunks::<LANES>().0.iter().zip(lower.as_chunks::<LANES>().0);
    for ((upper, lower), taps) in rows.zip(taps.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            sums[0][lane] += upper[lane] * taps[lane];
            sums[1][lane] += lower[lane] * taps[lane];
        }
    }
    sums
}

/// Rounds a fixed-point number that an `f64` holds to a byte.
fn whole_to_byte(sum: f64) -> u8 {
    // Added to this, a whole number stands in the low bits of the fraction.
    const ALIGNED: f64 = 6_755_399_441_055_744.0;
    to_byte((sum + ALIGNED).to_bits() as i32)
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

/// Bytes that a loop over a row takes at once.
const BLOCK: usize = 16;

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
        let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
        let mut column = wanted.start;
        for block in blocks {
            let mut sums = [0_i32; BLOCK];
            for (row, &tap) in rows.chunks_exact(stride).zip(&taps) {
                let row: &[u8; BLOCK] = row[column..].first_chunk().expect("a block lies in its row");
                for lane in 0..BLOCK {
                    sums[lane] = sums[lane].wrapping_add(i32::from(row[lane]) * tap);
                }
            }
            *block = sums.map(to_byte);
            column += BLOCK;
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
