//! Depthwise convolution: each channel has its own window, or several, one per output.

use std::ops::Range;

use crate::epilogue::{Epilogue, Place};
use crate::isa::{Isa, Kernel, Simd, load};
use crate::matrix::SharedMatrix;
use crate::threads::Kernels;
use crate::window::{Image, Window};

/// Output columns summed together, one register each, so that a weight is loaded once for all of them.
const COLUMNS: usize = 8;

/// Most output lines in a task: what neighboring tasks both gather is little beside them, and the gathered lines of a
/// typical image stay in the second-level cache.
const MOST_LINES: usize = 16;

/// Vectors of channels gathered at a time. In the image, vectors of neighboring pixels lie a large constant stride
/// apart, which caches handle badly; gathered, they lie side by side, with zeros beyond the edge of the image.
const VECTORS: usize = 4;

/// Tasks per thread, so that the load balances.
const TASKS_A_THREAD: usize = 4;

/// Lanes of the widest vector.
const MOST_LANES: usize = 16;

/// Most outputs per channel.
pub(crate) const MOST_COPIES: usize = 4;

/// Weights of a depthwise convolution, `[vectors of channels, copies, taps, lanes]`, zero beyond the last channel, so that
/// those of a window lie side by side. Output `channel * copies + copy`.
#[derive(Debug)]
pub(crate) struct DepthwiseWeight {
    values: Vec<f32>,
    copies: usize,
}

impl DepthwiseWeight {
    /// Reorders weights `[channels * copies, taps]`; at most [`MOST_COPIES`].
    pub(crate) fn new(weight: &[f32], taps: usize, copies: usize, isa: Isa) -> Self {
        assert!((1..=MOST_COPIES).contains(&copies), "1 to {MOST_COPIES} outputs of a channel");
        let (channels, lanes) = (weight.len() / (taps * copies), isa.lanes());
        let value = |place: usize| {
            let (rest, lane) = (place / lanes, place % lanes);
            let (rest, tap) = (rest / taps, rest % taps);
            let (vector, copy) = (rest / copies, rest % copies);
            let channel = vector * lanes + lane;
            if channel < channels { weight[(channel * copies + copy) * taps + tap] } else { 0.0 }
        };
        let len = channels.next_multiple_of(lanes) * copies * taps;
        Self { values: (0..len).map(value).collect(), copies }
    }

    /// Returns the bytes taken by the weights.
    pub(crate) fn bytes(&self) -> usize {
        self.values.len() * size_of::<f32>()
    }
}

impl Kernels {
    /// Convolves every channel; each task computes a block of output lines of some channels.
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
        let group = VECTORS * self.isa().lanes();
        let groups = x.channels.div_ceil(group);
        let wanted = (TASKS_A_THREAD * self.threads()).div_ceil((x.batch * groups).max(1));
        let each = size[0].div_ceil(wanted).clamp(1, MOST_LINES);
        let blocks = size[0].div_ceil(each);
        // The input lines seen by `each` output lines, wide enough for whole groups of columns.
        let seen = |axis: usize, outputs: usize| {
            (outputs - 1) * window.stride[axis] + (window.kernel[axis] - 1) * window.dilation[axis] + 1
        };
        let padded = [seen(0, each), seen(1, size[1].max(1).next_multiple_of(COLUMNS))];
        let values = padded[0] * padded[1] * group;
        self.parallel(x.batch * groups * blocks, work, |task| {
            let (rest, block) = (task / blocks, task % blocks);
            let (batch, first) = (rest / groups, rest % groups * group);
            let lines = block * each..size[0].min((block + 1) * each);
            let channels = first..x.channels.min(first + group);
            self.with_scratch(values, |scratch| {
                self.isa().run(Lines {
                    x,
                    weight,
                    window,
                    size,
                    batch,
                    lines,
                    channels,
                    padded,
                    scratch,
                    epilogue,
                    out,
                });
            });
        });
    }
}

/// A block of output lines of some channels.
struct Lines<'a> {
    x: Image<'a>,
    weight: &'a DepthwiseWeight,
    window: &'a Window,
    /// Height and width of the output.
    size: [usize; 2],
    batch: usize,
    lines: Range<usize>,
    /// At most `VECTORS` vectors, starting at a whole one.
    channels: Range<usize>,
    /// Height and width of the part of the image that the lines see, padding included.
    padded: [usize; 2],
    /// Space for that part, `[vectors, height, width, lanes]`.
    scratch: &'a mut [f32],
    epilogue: &'a Epilogue<'a>,
    /// No other task touches the outputs of these channels in the rows of these lines.
    out: SharedMatrix<'a>,
}

/// Sums of a group of columns, `[columns, outputs of the channels, in whole vectors]`, on a cache line.
#[repr(align(64))]
struct Sums([f32; COLUMNS * VECTORS * MOST_COPIES * MOST_LANES]);

impl Kernel for Lines<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        self.gather(simd);
        let copies = self.weight.copies;
        let outputs = self.channels.len() * copies;
        let width = outputs.next_multiple_of(S::LANES);
        let mut sums = Sums([0.0; COLUMNS * VECTORS * MOST_COPIES * MOST_LANES]);
        // Down the lines, so that all but one of the lines that a window sees are still in the first-level cache.
        for column in (0..self.size[1]).step_by(COLUMNS) {
            for line in self.lines.clone() {
                for vector in 0..self.channels.len().div_ceil(S::LANES) {
                    for copy in 0..copies {
                        let totals = self.sum(simd, vector, line, column, copy);
                        for (index, &total) in totals.iter().enumerate() {
                            let sums = &mut sums.0[index * width..][..width];
                            self.keep(simd, total, vector, copy, sums);
                        }
                    }
                }
                let place = Place {
                    row: (self.batch * self.size[0] + line) * self.size[1] + column,
                    rows: COLUMNS.min(self.size[1] - column),
                    column: self.channels.start * copies,
                    columns: outputs,
                };
                #[allow(unsafe_code)]
                // SAFETY: these outputs belong to this task only.
                unsafe {
                    self.epilogue.store_tile(simd, &sums.0, place, self.out);
                }
            }
        }
    }
}

impl Lines<'_> {
    /// Copies the part of the image that the lines see into the scratch. Lines beyond the image are left as they are,
    /// since nothing reads them.
    #[inline(always)]
    fn gather<S: Simd>(&mut self, simd: S) {
        let window = self.window;
        let [height, width] = self.padded;
        let vectors = self.channels.len().div_ceil(S::LANES);
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
                let pixel = &self.x.pixel(self.batch, y, column)[self.channels.clone()];
                for (vector, part) in pixel.chunks(S::LANES).enumerate() {
                    let place = (vector * height + line) * width + left + column;
                    simd.store(&mut self.scratch[place * S::LANES..], load(simd, part));
                }
            }
        }
    }

    /// Sums the windows of `COLUMNS` outputs of a line, for one vector of channels.
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
        copy: usize,
    ) -> [S::Vector; COLUMNS] {
        let window = self.window;
        let [height, width] = window.kernel;
        let (step, dilation) = (window.stride[1] * S::LANES, window.dilation[1] * S::LANES);
        let first = (self.channels.start / S::LANES + vector) * self.weight.copies + copy;
        let weights = &self.weight.values[first * height * width * S::LANES..][..height * width * S::LANES];
        let mut sums = [simd.splat(0.0); COLUMNS];
        for tap_y in 0..height {
            if self.window.source(0, line, tap_y, self.x.size[0]).is_none() {
                continue;
            }
            let seen = (line - self.lines.start) * window.stride[0] + tap_y * window.dilation[0];
            let place = (vector * self.padded[0] + seen) * self.padded[1] + column * window.stride[1];
            let pixels = &self.scratch[place * S::LANES..];
            let weights = &weights[tap_y * width * S::LANES..][..width * S::LANES];
            assert!(pixels.len() >= (COLUMNS - 1) * step + (width - 1) * dilation + S::LANES);
            // SAFETY: `weights` holds `width` vectors, and `pixels` holds `LANES` values at the last tap and the last
            // column (asserted), and therefore at every other one.
            unsafe {
                let (pixels, weights) = (pixels.as_ptr(), weights.as_ptr());
                match (width, step == S::LANES && dilation == S::LANES) {
                    (3, true) => slide::<S, 3>(simd, pixels, weights, &mut sums),
                    (5, true) => slide::<S, 5>(simd, pixels, weights, &mut sums),
                    (7, true) => slide::<S, 7>(simd, pixels, weights, &mut sums),
                    _ => slide_any(simd, pixels, weights, width, [step, dilation], &mut sums),
                }
            }
        }
        sums
    }

    /// Writes the sums of one copy of a vector of channels to their places among the outputs of one pixel: the outputs of
    /// a channel are adjacent.
    #[inline(always)]
    fn keep<S: Simd>(&self, simd: S, total: S::Vector, vector: usize, copy: usize, sums: &mut [f32]) {
        let copies = self.weight.copies;
        let sums = &mut sums[vector * S::LANES * copies..];
        if copies == 1 {
            simd.store(sums, total);
            return;
        }
        let mut lanes = [0.0; MOST_LANES];
        simd.store(&mut lanes, total);
        for (place, &lane) in sums.iter_mut().skip(copy).step_by(copies).zip(&lanes[..S::LANES]) {
            *place = lane;
        }
    }
}

/// Adds one line of windows of `WIDTH` taps, at most 7, that lie side by side: each pixel is loaded once for all windows that
/// see it.
///
/// # Safety
/// `pixels` points to `COLUMNS + WIDTH - 1` vectors and `weights` to `WIDTH`.
#[inline(always)]
#[allow(unsafe_code)]
// Indexed loops, so that the compiler keeps everything in registers.
#[allow(clippy::needless_range_loop)]
unsafe fn slide<S: Simd, const WIDTH: usize>(
    simd: S,
    pixels: *const f32,
    weights: *const f32,
    sums: &mut [S::Vector; COLUMNS],
) {
    let mut seen = [simd.splat(0.0); COLUMNS + 6];
    // SAFETY: the caller promises the vectors at these places.
    unsafe {
        for index in 0..COLUMNS + WIDTH - 1 {
            seen[index] = simd.load_pointer(pixels.add(index * S::LANES));
        }
        for tap in 0..WIDTH {
            let weight = simd.load_pointer(weights.add(tap * S::LANES));
            for index in 0..COLUMNS {
                sums[index] = simd.fma(seen[tap + index], weight, sums[index]);
            }
        }
    }
}

/// Adds one line of windows of any width, whose columns and taps lie `step` and `dilation` values apart.
///
/// # Safety
/// `pixels` points to a vector at each column and tap, and `weights` to `width` vectors.
#[inline(always)]
#[allow(unsafe_code)]
#[allow(clippy::needless_range_loop)]
unsafe fn slide_any<S: Simd>(
    simd: S,
    pixels: *const f32,
    weights: *const f32,
    width: usize,
    [step, dilation]: [usize; 2],
    sums: &mut [S::Vector; COLUMNS],
) {
    for tap in 0..width {
        // SAFETY: the caller promises the vectors at these places.
        unsafe {
            let weight = simd.load_pointer(weights.add(tap * S::LANES));
            let pixels = pixels.add(tap * dilation);
            for index in 0..COLUMNS {
                let value = simd.load_pointer(pixels.add(index * step));
                sums[index] = simd.fma(value, weight, sums[index]);
            }
        }
    }
}
