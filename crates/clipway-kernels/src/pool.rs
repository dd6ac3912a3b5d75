//! Average and maximum pooling over a moving window, channels last.

use crate::isa::{Kernel, Simd, load, store};
use crate::matrix::{MatrixMut, SharedMatrix};
use crate::threads::Kernels;
use crate::window::{Image, Window};

/// The kind of pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pool {
    Max,
    /// Divides by the window size, or by the number of pixels within the image.
    Average {
        count_padding: bool,
    },
}

impl Kernels {
    /// Writes the maximum of each window; NaN propagates.
    ///
    /// # Panics
    /// If `out` does not have the size given by [`Window::output_size`].
    pub fn max_pool2d(&self, x: Image<'_>, window: &Window, out: &mut [f32]) {
        self.pool(x, window, Pool::Max, out);
    }

    /// Writes the mean of each window; padding zeros count if `count_padding`.
    ///
    /// # Panics
    /// If `out` does not have the size given by [`Window::output_size`].
    pub fn avg_pool2d(&self, x: Image<'_>, window: &Window, count_padding: bool, out: &mut [f32]) {
        self.pool(x, window, Pool::Average { count_padding }, out);
    }

    fn pool(&self, x: Image<'_>, window: &Window, pool: Pool, out: &mut [f32]) {
        let size = window.output_size(x.size);
        let lines = x.batch * size[0];
        let out = MatrixMut::new(out, lines * size[1], x.channels).share();
        let work = 2 * lines * size[1] * x.channels * window.taps();
        self.parallel(lines, work, |line| self.isa().run(Line { x, window, pool, size, line, out }));
    }
}

/// One output line.
struct Line<'a> {
    x: Image<'a>,
    window: &'a Window,
    pool: Pool,
    size: [usize; 2],
    line: usize,
    /// No other task touches the rows of this line.
    out: SharedMatrix<'a>,
}

impl Kernel for Line<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (batch, y) = (self.line / self.size[0], self.line % self.size[0]);
        let [height, width] = self.window.kernel;
        for x in 0..self.size[1] {
            #[allow(unsafe_code)]
            // SAFETY: the row belongs to this task only.
            let out = unsafe { self.out.part(self.line * self.size[1] + x, 0, self.x.channels) };
            for start in (0..out.len()).step_by(S::LANES) {
                let place = start..out.len().min(start + S::LANES);
                let mut max = simd.splat(f32::NEG_INFINITY);
                let mut sum = simd.splat(0.0);
                let mut count = 0;
                for tap_y in 0..height {
                    let Some(y) = self.window.source(0, y, tap_y, self.x.size[0]) else { continue };
                    for tap_x in 0..width {
                        let Some(x) = self.window.source(1, x, tap_x, self.x.size[1]) else { continue };
                        let value = load(simd, &self.x.pixel(batch, y, x)[place.clone()]);
                        max = simd.select(simd.is_nan(max), max, simd.max(max, value));
                        sum = simd.add(sum, value);
                        count += 1;
                    }
                }
                let value = match self.pool {
                    Pool::Max => max,
                    Pool::Average { count_padding } => {
                        let divisor = if count_padding { height * width } else { count };
                        simd.div(sum, simd.splat(divisor as f32))
                    }
                };
                store(simd, &mut out[place], value);
            }
        }
    }
}
