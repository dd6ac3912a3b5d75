//! Depthwise convolution: each channel has its own window, or several, one per output.

use std::ops::Range;

use crate::epilogue::Epilogue;
use crate::isa::{Kernel, Simd, load};
use crate::matrix::SharedMatrix;
use crate::threads::Kernels;
use crate::window::{Image, Window};

/// Output columns summed together, one register each, so that a weight is loaded once for all of them.
const COLUMNS: usize = 8;

/// Most output lines in a task.
const MOST_LINES: usize = 8;

/// Vectors of channels gathered at a time. In the image, vectors of neighboring pixels lie a large constant stride
/// apart, which caches handle badly; gathered, they lie side by side, with zeros beyond the edge of the image.
const VECTORS: usize = 4;

/// Tasks per thread, so that the load balances.
const TASKS_A_THREAD: usize = 4;

/// Lanes of the widest vector.
const MOST_LANES: usize = 16;

/// Most outputs per channel.
pub(crate) const MOST_COPIES: usize = 4;

/// Weights of a depthwise convolution, `[copies, taps, channels]`: output `channel * copies + copy`.
#[derive(Debug)]
pub(crate) struct DepthwiseWeight {
    values: Vec<f32>,
    channels: usize,
    copies: usize,
}

impl DepthwiseWeight {
    /// Reorders weights `[channels * copies, taps]`; at most [`MOST_COPIES`].
    pub(crate) fn new(weight: &[f32], taps: usize, copies: usize) -> Self {
        assert!((1..=MOST_COPIES).contains(&copies), "1 to {MOST_COPIES} outputs of a channel");
        let channels = weight.len() / (taps * copies);
        let value = |place: usize| {
            let (rest, channel) = (place / channels, place % channels);
            let (copy, tap) = (rest / taps, rest % taps);
            weight[(channel * copies + copy) * taps + tap]
        };
        Self { values: (0..weight.len()).map(value).collect(), channels, copies }
    }

    /// Returns the bytes taken by the weights.
    pub(crate) fn bytes(&self) -> usize {
        self.values.len() * size_of::<f32>()
    }
}

impl Kernels {
    /// Convolves every channel; each task computes a block of output lines.
    pub(crate) fn depthwise(
        &self,
        x: Image<'_>,
        weight: &DepthwiseWeight,
        window: &Window,
        size: [usize; 2],
        epilogue: &Epilogue<'_>,
        out: SharedMatrix<'_>,
    ) {
        let work = x.batch * size[0] * size[1] * out.columns() * (4 * window.taps() + epilogue.work());
        let wanted = (TASKS_A_THREAD * self.threads()).div_ceil(x.batch.max(1));
        let each = size[0].div_ceil(wanted).clamp(1, MOST_LINES);
        let blocks = size[0].div_ceil(each);
        // The input lines seen by `each` output lines, wide enough for whole groups of columns.
        let seen = |axis: usize, outputs: usize| {
            (outputs - 1) * window.stride[axis] + (window.kernel[axis] - 1) * window.dilation[axis] + 1
        };
        let padded = [seen(0, each), seen(1, size[1].max(1).next_multiple_of(COLUMNS))];
        let values = padded[0] * padded[1] * VECTORS * MOST_LANES;
        self.parallel(x.batch * blocks, work, |task| {
            let (batch, block) = (task / blocks, task % blocks);
            let lines = block * each..size[0].min((block + 1) * each);
            self.with_scratch(values, |scratch| {
                self.isa().run(Lines {
                    x,
                    weight,
                    window,
                    size,
                    batch,
                    lines,
                    padded,
                    scratch,
                    epilogue,
                    out,
                });
            });
        });
    }
}

/// A block of output lines.
struct Lines<'a> {
    x: Image<'a>,
    weight: &'a DepthwiseWeight,
    window: &'a Window,
    /// Height and width of the output.
    size: [usize; 2],
    batch: usize,
    lines: Range<usize>,
    /// Height and width of the part of the image that the lines see, padding included.
    padded: [usize; 2],
    /// Space for that part, `[vectors, height, width, lanes]`.
    scratch: &'a mut [f32],
    epilogue: &'a Epilogue<'a>,
    /// No other task touches the rows of these lines.
    out: SharedMatrix<'a>,
}

/// Sums of a group of columns, `[columns, copies, lanes]`, on a cache line.
#[repr(align(64))]
struct Sums([f32; COLUMNS * MOST_COPIES * MOST_LANES]);

impl Kernel for Lines<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let channels = self.weight.channels;
        for first in (0..channels).step_by(VECTORS * S::LANES) {
            let vectors = (channels - first).div_ceil(S::LANES).min(VECTORS);
            self.gather(simd, first, vectors);
            for vector in 0..vectors {
                let channel = first + vector * S::LANES;
                let channels = channel..channels.min(channel + S::LANES);
                for line in self.lines.clone() {
                    for column in (0..self.size[1]).step_by(COLUMNS) {
                        self.columns(simd, vector, line, column, channels.clone());
                    }
                }
            }
        }
    }
}

impl Lines<'_> {
    /// Copies the part of the image that the lines see into the scratch, for `vectors` vectors of channels starting at
    /// `first`. Lines beyond the image are left as they are, since nothing reads them.
    #[inline(always)]
    fn gather<S: Simd>(&mut self, simd: S, first: usize, vectors: usize) {
        let window = self.window;
        let [height, width] = self.padded;
        let left = window.padding[1][0].min(width);
        let copied = self.x.size[1].min(width - left);
        for line in 0..height {
            let y = (self.lines.start * window.stride[0] + line).wrapping_sub(window.padding[0][0]);
            if y >= self.x.size[0] {
                continue;
            }
            for vector in 0..vectors {
                let line = &mut self.scratch[(vector * height + line) * width * S::LANES..];
                line[..left * S::LANES].fill(0.0);
                line[(left + copied) * S::LANES..width * S::LANES].fill(0.0);
            }
            for column in 0..copied {
                let pixel = &self.x.pixel(self.batch, y, column)[first..];
                for vector in 0..vectors {
                    let part = &pixel[vector * S::LANES..];
                    let value = load(simd, &part[..part.len().min(S::LANES)]);
                    let place = (vector * height + line) * width + left + column;
                    simd.store(&mut self.scratch[place * S::LANES..], value);
                }
            }
        }
    }

    /// Computes and stores up to `COLUMNS` outputs of a line for one vector of channels.
    #[inline(always)]
    fn columns<S: Simd>(&self, simd: S, vector: usize, line: usize, column: usize, channels: Range<usize>) {
        let copies = self.weight.copies;
        let count = COLUMNS.min(self.size[1] - column);
        let row = (self.batch * self.size[0] + line) * self.size[1] + column;
        if copies == 1 {
            let totals = self.sum(simd, vector, line, column, channels.clone(), 0);
            for (index, &total) in totals.iter().enumerate().take(count) {
                #[allow(unsafe_code)]
                // SAFETY: the row belongs to this task only.
                let part = unsafe { self.out.part(row + index, channels.start, channels.len()) };
                self.epilogue.store_vector(simd, total, row + index, channels.start, part);
            }
            return;
        }
        let mut sums = Sums([0.0; COLUMNS * MOST_COPIES * MOST_LANES]);
        for copy in 0..copies {
            let totals = self.sum(simd, vector, line, column, channels.clone(), copy);
            for (index, &total) in totals.iter().enumerate() {
                simd.store(&mut sums.0[(index * copies + copy) * S::LANES..], total);
            }
        }
        for (index, sums) in sums.0.chunks_exact(copies * S::LANES).enumerate().take(count) {
            self.store(simd, row + index, channels.clone(), sums);
        }
    }

    /// Sums the windows of `COLUMNS` outputs of a line.
    #[inline(always)]
    #[allow(unsafe_code)]
    // Indexed loops, so that the compiler keeps the sums in registers.
    #[allow(clippy::needless_range_loop)]
    fn sum<S: Simd>(
        &self,
        simd: S,
        vector: usize,
        line: usize,
        column: usize,
        channels: Range<usize>,
        copy: usize,
    ) -> [S::Vector; COLUMNS] {
        let window = self.window;
        let [height, width] = window.kernel;
        let pitch = self.weight.channels;
        let (step, dilation) = (window.stride[1] * S::LANES, window.dilation[1] * S::LANES);
        let mut sums = [simd.splat(0.0); COLUMNS];
        for tap_y in 0..height {
            if self.window.source(0, line, tap_y, self.x.size[0]).is_none() {
                continue;
            }
            let seen = (line - self.lines.start) * window.stride[0] + tap_y * window.dilation[0];
            let place = (vector * self.padded[0] + seen) * self.padded[1] + column * window.stride[1];
            let pixels = &self.scratch[place * S::LANES..];
            let weights = &self.weight.values[(copy * height + tap_y) * width * pitch..][..width * pitch];
            assert!(pixels.len() >= (COLUMNS - 1) * step + (width - 1) * dilation + S::LANES);
            for tap in 0..width {
                let weight = load(simd, &weights[tap * pitch..][channels.clone()]);
                // SAFETY: the slice holds `LANES` values at the last tap and the last column (asserted), and therefore
                // at every other one.
                unsafe {
                    let pixels = pixels.as_ptr().add(tap * dilation);
                    for column in 0..COLUMNS {
                        let value = simd.load_pointer(pixels.add(column * step));
                        sums[column] = simd.fma(value, weight, sums[column]);
                    }
                }
            }
        }
        sums
    }

    /// Stores the sums `[copies, lanes]` of some channels at one pixel; the outputs of a channel are adjacent.
    #[inline(always)]
    fn store<S: Simd>(&self, simd: S, row: usize, channels: Range<usize>, sums: &[f32]) {
        let copies = self.weight.copies;
        let mut ordered = [0.0; MOST_COPIES * MOST_LANES];
        for (copy, sums) in sums.chunks_exact(S::LANES).enumerate() {
            for (lane, &sum) in sums.iter().enumerate() {
                ordered[lane * copies + copy] = sum;
            }
        }
        let (column, count) = (channels.start * copies, channels.len() * copies);
        #[allow(unsafe_code)]
        // SAFETY: the row belongs to this task only.
        let part = unsafe { self.out.part(row, column, count) };
        self.epilogue.store(simd, &ordered[..count], row, column, part);
    }
}
