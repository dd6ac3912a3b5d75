//! Depthwise convolution: every channel with its own window.

use crate::epilogue::Epilogue;
use crate::isa::{Kernel, Simd, load, store};
use crate::matrix::SharedMatrix;
use crate::threads::Kernels;
use crate::window::{Image, Window};

/// Channels that a task sums up at a time: four vectors of the widest instruction set.
const CHANNELS: usize = 64;

/// Weights of a depthwise convolution, `[taps, channels]`.
#[derive(Debug)]
pub(crate) struct DepthwiseWeight {
    values: Vec<f32>,
    channels: usize,
}

impl DepthwiseWeight {
    /// Reorders weights `[channels, taps]`.
    pub(crate) fn new(weight: &[f32], taps: usize) -> Self {
        let channels = weight.len() / taps;
        let values =
            (0..weight.len()).map(|place| weight[place % channels * taps + place / channels]).collect();
        Self { values, channels }
    }

    /// Returns the memory that the weights take.
    pub(crate) fn bytes(&self) -> usize {
        self.values.len() * size_of::<f32>()
    }
}

impl Kernels {
    /// Convolves every channel, a line of the output a task.
    pub(crate) fn depthwise(
        &self,
        x: Image<'_>,
        weight: &DepthwiseWeight,
        window: &Window,
        size: [usize; 2],
        epilogue: &Epilogue<'_>,
        out: SharedMatrix<'_>,
    ) {
        let taps = window.taps();
        let lines = x.batch * size[0];
        let work = lines * size[1] * x.channels * (4 * taps + epilogue.work());
        self.parallel(lines, work, |line| {
            self.isa().run(Line { x, weight, window, size, line, epilogue, out });
        });
    }
}

/// One line of the output.
struct Line<'a> {
    x: Image<'a>,
    weight: &'a DepthwiseWeight,
    window: &'a Window,
    size: [usize; 2],
    line: usize,
    epilogue: &'a Epilogue<'a>,
    /// No other task takes the rows of this line.
    out: SharedMatrix<'a>,
}

impl Kernel for Line<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // Channels outside: a block's weights and window stay in the first-level cache along the line.
        for channel in (0..self.weight.channels).step_by(CHANNELS) {
            let count = CHANNELS.min(self.weight.channels - channel);
            let mut sums = [0.0; CHANNELS];
            for x in 0..self.size[1] {
                if count == CHANNELS {
                    self.sum_whole(simd, x, channel, &mut sums);
                } else {
                    self.sum_part(simd, x, channel, &mut sums[..count]);
                }
                let row = self.line * self.size[1] + x;
                #[allow(unsafe_code)]
                // SAFETY: the row is of this task alone.
                let part = unsafe { self.out.part(row, channel, count) };
                self.epilogue.store(simd, &sums[..count], row, channel, part);
            }
        }
    }
}

impl Line<'_> {
    /// Sums the window over `CHANNELS` channels, four vectors at a time.
    #[inline(always)]
    fn sum_whole<S: Simd>(&self, simd: S, x: usize, channel: usize, sums: &mut [f32; CHANNELS]) {
        for start in (0..CHANNELS).step_by(4 * S::LANES) {
            let place = channel + start..channel + start + 4 * S::LANES;
            let zero = simd.splat(0.0);
            let totals = self.fold(x, [zero; 4], |mut totals, pixel, weight| {
                let (pixel, weight) = (&pixel[place.clone()], &weight[place.clone()]);
                for (index, total) in totals.iter_mut().enumerate() {
                    let at = index * S::LANES;
                    *total = simd.fma(simd.load(&pixel[at..]), simd.load(&weight[at..]), *total);
                }
                totals
            });
            for (index, &total) in totals.iter().enumerate() {
                simd.store(&mut sums[start + index * S::LANES..], total);
            }
        }
    }

    /// Sums the window over fewer channels.
    #[inline(always)]
    fn sum_part<S: Simd>(&self, simd: S, x: usize, channel: usize, sums: &mut [f32]) {
        for start in (0..sums.len()).step_by(S::LANES) {
            let end = sums.len().min(start + S::LANES);
            let place = channel + start..channel + end;
            let total = self.fold(x, simd.splat(0.0), |total, pixel, weight| {
                simd.fma(load(simd, &pixel[place.clone()]), load(simd, &weight[place.clone()]), total)
            });
            store(simd, &mut sums[start..end], total);
        }
    }

    /// Folds the pixel and the weights of every tap within the image into a state.
    #[inline(always)]
    fn fold<T>(&self, x: usize, mut state: T, function: impl Fn(T, &[f32], &[f32]) -> T) -> T {
        let (batch, y) = (self.line / self.size[0], self.line % self.size[0]);
        let [height, width] = self.window.kernel;
        let within = self.window.taps_within(1, x, self.x.size[1]);
        let Some(first) = self.window.source(1, x, within.start, self.x.size[1]) else { return state };
        let channels = self.weight.channels;
        for tap_y in 0..height {
            let Some(y) = self.window.source(0, y, tap_y, self.x.size[0]) else { continue };
            let pixels = &self.x.data[self.x.place(batch, y, first)..];
            let weights = &self.weight.values[(tap_y * width + within.start) * channels..];
            for tap in 0..within.len() {
                let pixel = &pixels[tap * self.window.dilation[1] * channels..][..channels];
                state = function(state, pixel, &weights[tap * channels..][..channels]);
            }
        }
        state
    }
}
