//! Image resizing on bytes, pass by pass, in Pillow's fixed-point arithmetic.
//!
//! Each output is a sum of bytes times weights with 22 fractional bits, in wrapping 32-bit arithmetic, then rounded and
//! clamped to a byte. The result is bit-identical on every instruction set.

use crate::isa::{Isa, Kernel, PRECISION, ROWS, STEP_BYTES, Simd, Step, round_to_byte, taps};
use std::ops::Range;

/// The inputs and weights of each output of a pass.
#[derive(Clone, Debug, Default)]
pub struct ByteTaps {
    first: Vec<usize>,
    /// Where the weights of each output end.
    ends: Vec<usize>,
    weights: Vec<i32>,
}

impl ByteTaps {
    /// Fractional bits of a weight.
    pub const PRECISION: u32 = PRECISION;

    /// Creates taps without outputs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an output: its first input, and the weights from there on, with [`Self::PRECISION`] fractional bits.
    ///
    /// # Panics
    /// If a weight is 2 or more, or less than -2: a byte times such a weight would not fit 32 bits.
    pub fn push(&mut self, first: usize, weights: impl IntoIterator<Item = i32>) {
        let begin = self.weights.len();
        self.weights.extend(weights);
        let small = |weight: &i32| (-(2 << PRECISION)..2 << PRECISION).contains(weight);
        assert!(self.weights[begin..].iter().all(small), "a weight is too large for fixed-point numbers");
        self.first.push(first);
        self.ends.push(self.weights.len());
    }

    /// Returns the number of outputs.
    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// Returns whether there are no outputs.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    fn weights(&self, output: usize) -> &[i32] {
        let begin = output.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.weights[begin..self.ends[output]]
    }

    /// Returns one past the last input of any output.
    fn end(&self) -> usize {
        (0..self.len()).map(|output| self.first[output] + self.weights(output).len()).max().unwrap_or(0)
    }
}

/// Resizes every row of an image, `[height, width, CHANNELS]` to `[height, taps.len(), CHANNELS]`.
///
/// # Panics
/// If `rows` is not a whole number of rows, a tap lies outside a row, or `CHANNELS` is not 1 to 4.
pub fn resize_rows<const CHANNELS: usize>(isa: Isa, rows: &[u8], width: usize, taps: &ByteTaps) -> Vec<u8> {
    const { assert!(CHANNELS >= 1 && CHANNELS <= 4, "one to four channels") };
    assert!(width > 0 && rows.len().is_multiple_of(width * CHANNELS), "rows of {width} pixels");
    assert!(taps.end() <= width, "taps up to {} of {width} pixels", taps.end());
    if taps.is_empty() {
        return Vec::new();
    }
    isa.run(Rows::<CHANNELS> { rows, stride: width * CHANNELS, taps: &PackedTaps::new::<CHANNELS>(taps) })
}

/// Weights in step order.
struct PackedTaps {
    outputs: Vec<PackedOutput>,
    steps: Vec<Step>,
    /// Bytes read of a row, including ignored ones beyond the last tap.
    reach: usize,
}

struct PackedOutput {
    bytes: Range<usize>,
    steps: Range<usize>,
}

impl PackedTaps {
    fn new<const CHANNELS: usize>(taps_of: &ByteTaps) -> Self {
        let mut packed = Self { outputs: Vec::with_capacity(taps_of.len()), steps: Vec::new(), reach: 0 };
        for output in 0..taps_of.len() {
            let begin = packed.steps.len();
            let chunks = taps_of.weights(output).chunks(taps::<CHANNELS>());
            packed.steps.extend(chunks.map(Step::new::<CHANNELS>));
            let steps = begin..packed.steps.len();
            let start = taps_of.first[output] * CHANNELS;
            let between = taps::<CHANNELS>() * CHANNELS;
            let length = steps.len().checked_sub(1).map_or(0, |last| last * between + STEP_BYTES);
            packed.reach = packed.reach.max(start + length);
            packed.outputs.push(PackedOutput { bytes: start..start + length, steps });
        }
        packed
    }
}

struct Rows<'a, const CHANNELS: usize> {
    rows: &'a [u8],
    stride: usize,
    taps: &'a PackedTaps,
}

impl<const CHANNELS: usize> Kernel for Rows<'_, CHANNELS> {
    type Output = Vec<u8>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Vec<u8> {
        let out_stride = self.taps.outputs.len() * CHANNELS;
        let count = self.rows.len() / self.stride;
        let mut out = vec![0; count * out_stride];
        // The last rows lack the extra bytes that steps read, and an incomplete group sums zeros for its missing rows.
        let mut filled = vec![0; ROWS * self.taps.reach];
        let mut unused = vec![0; ROWS * out_stride];
        for (group, out) in out.chunks_mut(ROWS * out_stride).enumerate() {
            let starts: [usize; ROWS] = std::array::from_fn(|row| (group * ROWS + row) * self.stride);
            let whole = starts[ROWS - 1] + self.taps.reach <= self.rows.len();
            if !whole {
                for (start, row) in starts.into_iter().zip(filled.chunks_exact_mut(self.taps.reach)) {
                    let bytes = self.rows.get(start..).unwrap_or_default();
                    let length = bytes.len().min(row.len());
                    row[..length].copy_from_slice(&bytes[..length]);
                }
            }
            let rows: [&[u8]; ROWS] = std::array::from_fn(|row| {
                let (bytes, start) =
                    if whole { (self.rows, starts[row]) } else { (filled.as_slice(), row * self.taps.reach) };
                &bytes[start..start + self.taps.reach]
            });
            let missing = ROWS * out_stride - out.len();
            let mut places =
                out.chunks_exact_mut(out_stride).chain(unused[..missing].chunks_exact_mut(out_stride));
            let mut next = || places.next().expect("four rows").as_chunks_mut::<CHANNELS>().0.iter_mut();
            let places = next().zip(next()).zip(next().zip(next()));
            for (output, ((first, second), (third, fourth))) in self.taps.outputs.iter().zip(places) {
                let inputs = rows.map(|row| &row[output.bytes.clone()]);
                let steps = &self.taps.steps[output.steps.clone()];
                #[allow(unsafe_code)]
                // SAFETY: `PackedTaps::new` made the range long enough for the output's steps.
                let sums = unsafe { simd.byte_sums::<CHANNELS>(inputs, steps) };
                for (place, sums) in [first, second, third, fourth].into_iter().zip(sums) {
                    place.copy_from_slice(&sums[..CHANNELS]);
                }
            }
        }
        out
    }
}

/// Resizes columns of bytes, `[height, stride]` to `[taps.len(), columns.len()]`.
///
/// `samples` starts at input row `skipped`; the rows above it are omitted.
///
/// # Panics
/// If a tap or a column lies outside the samples.
pub fn resize_columns(
    isa: Isa,
    samples: &[u8],
    stride: usize,
    columns: Range<usize>,
    skipped: usize,
    taps: &ByteTaps,
) -> Vec<u8> {
    assert!(columns.start < columns.end && columns.end <= stride, "columns {columns:?} of {stride}");
    isa.run(Columns { samples, stride, columns, skipped, taps })
}

/// Bytes of a row summed at once.
const BLOCK: usize = 64;

struct Columns<'a> {
    samples: &'a [u8],
    stride: usize,
    columns: Range<usize>,
    skipped: usize,
    taps: &'a ByteTaps,
}

impl Kernel for Columns<'_> {
    type Output = Vec<u8>;

    /// Plain loops: compiled for an instruction set, they become its vectors.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Vec<u8> {
        let width = self.columns.len();
        let mut out = vec![0; self.taps.len() * width];
        for (output, out) in out.chunks_exact_mut(width).enumerate() {
            let weights = self.taps.weights(output);
            let first = self.taps.first[output] - self.skipped;
            let rows = &self.samples[first * self.stride..(first + weights.len()) * self.stride];
            let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
            let mut column = self.columns.start;
            for block in blocks {
                let mut sums = [0_i32; BLOCK];
                for (row, &weight) in rows.chunks_exact(self.stride).zip(weights) {
                    let row: &[u8; BLOCK] = row[column..].first_chunk().expect("a block lies in its row");
                    for lane in 0..BLOCK {
                        sums[lane] = sums[lane].wrapping_add(i32::from(row[lane]) * weight);
                    }
                }
                for lane in 0..BLOCK {
                    block[lane] = round_to_byte(sums[lane]);
                }
                column += BLOCK;
            }
            for byte in rest {
                let rows = rows.chunks_exact(self.stride).zip(weights);
                let sum =
                    rows.fold(0_i32, |sum, (row, &weight)| sum.wrapping_add(i32::from(row[column]) * weight));
                *byte = round_to_byte(sum);
                column += 1;
            }
        }
        out
    }
}
