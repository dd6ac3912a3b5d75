//! Row normalizations: layer norm, softmax, unit length.

use crate::isa::{Kernel, Simd, load, load_filled, store};
use crate::math;
use crate::matrix::{Matrix, MatrixMut, SharedMatrix};
use crate::threads::Kernels;
use std::ops::Range;

/// Approximate number of values in the rows of one task.
const TASK_VALUES: usize = 16 * 1024;

impl Kernels {
    /// Writes `(x - mean) / √(variance + epsilon) * weight + bias` to `out`, row by row.
    ///
    /// The variance is the population variance, computed about the mean in a second pass.
    ///
    /// # Panics
    /// If sizes differ.
    pub fn layer_norm(
        &self,
        x: Matrix<'_>,
        weight: Option<&[f32]>,
        bias: Option<&[f32]>,
        epsilon: f32,
        out: MatrixMut<'_>,
    ) {
        self.normalize(x, weight, bias, Moments { centered: true, epsilon }, out);
    }

    /// Writes `x / √(mean of x² + epsilon) * weight` to `out`, row by row.
    ///
    /// # Panics
    /// If sizes differ.
    pub fn rms_norm(&self, x: Matrix<'_>, weight: &[f32], epsilon: f32, out: MatrixMut<'_>) {
        self.normalize(x, Some(weight), None, Moments { centered: false, epsilon }, out);
    }

    fn normalize(
        &self,
        x: Matrix<'_>,
        weight: Option<&[f32]>,
        bias: Option<&[f32]>,
        moments: Moments,
        out: MatrixMut<'_>,
    ) {
        assert_eq!((x.rows(), x.columns()), (out.rows(), out.columns()), "the output has the input's size");
        for values in [weight, bias].into_iter().flatten() {
            assert_eq!(values.len(), x.columns(), "a value for each column");
        }
        let (count, width) = (out.rows(), out.columns());
        let out = out.share();
        self.rows(count, width, 12, |rows| Norm { x, weight, bias, moments, out, rows });
    }

    /// Replaces each row by its softmax.
    pub fn softmax(&self, rows: MatrixMut<'_>) {
        let (count, width) = (rows.rows(), rows.columns());
        let out = rows.share();
        self.rows(count, width, 20, |rows| Softmax { out, rows });
    }

    /// Divides each row by its Euclidean length, or by `epsilon` if that is greater.
    pub fn l2_normalize(&self, rows: MatrixMut<'_>, epsilon: f32) {
        let (count, width) = (rows.rows(), rows.columns());
        let out = rows.share();
        self.rows(count, width, 4, |rows| Normalize { epsilon, out, rows });
    }

    /// Spreads rows over the threads; each kernel has its own range.
    fn rows<K: Kernel<Output = ()>>(
        &self,
        rows: usize,
        width: usize,
        work: usize,
        kernel: impl Fn(Range<usize>) -> K + Sync,
    ) {
        let block = (TASK_VALUES / width.max(1)).max(1);
        self.parallel(rows.div_ceil(block), rows * width * work, |task| {
            self.isa().run(kernel(task * block..rows.min((task + 1) * block)));
        });
    }
}

/// The statistic a row is divided by.
#[derive(Clone, Copy)]
struct Moments {
    /// Whether the mean is subtracted first.
    centered: bool,
    /// Added to the mean of squares.
    epsilon: f32,
}

struct Norm<'a> {
    x: Matrix<'a>,
    weight: Option<&'a [f32]>,
    bias: Option<&'a [f32]>,
    moments: Moments,
    out: SharedMatrix<'a>,
    rows: Range<usize>,
}

impl Kernel for Norm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Moments { centered, epsilon } = self.moments;
        for row in self.rows.clone() {
            let x = self.x.row(row);
            #[allow(unsafe_code)]
            // SAFETY: the row belongs to this task only.
            let out = unsafe { self.out.part(row, 0, x.len()) };
            let mean = match centered {
                true => sum_of(simd, x, simd.splat(0.0), |_, _, value| value) / x.len() as f32,
                false => 0.0,
            };
            let squares = sum_of(simd, x, simd.splat(mean), |simd, mean, value| {
                let difference = simd.sub(value, mean);
                simd.mul(difference, difference)
            });
            let factor = simd.splat(1.0 / (squares / x.len() as f32 + epsilon).sqrt());
            let mean = simd.splat(mean);
            for start in (0..x.len()).step_by(S::LANES) {
                let place = start..x.len().min(start + S::LANES);
                let mut value = simd.mul(simd.sub(load(simd, &x[place.clone()]), mean), factor);
                if let Some(weight) = self.weight {
                    value = simd.mul(value, load(simd, &weight[place.clone()]));
                }
                if let Some(bias) = self.bias {
                    value = simd.add(value, load(simd, &bias[place.clone()]));
                }
                store(simd, &mut out[place], value);
            }
        }
    }
}

struct Softmax<'a> {
    out: SharedMatrix<'a>,
    rows: Range<usize>,
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for row in self.rows {
            #[allow(unsafe_code)]
            // SAFETY: the row belongs to this task only.
            let row = unsafe { self.out.part(row, 0, self.out.columns()) };
            let factor = softmax_row(simd, row, 1.0, None);
            scale_row(simd, row, factor);
        }
    }
}

struct Normalize<'a> {
    epsilon: f32,
    out: SharedMatrix<'a>,
    rows: Range<usize>,
}

impl Kernel for Normalize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for row in self.rows {
            #[allow(unsafe_code)]
            // SAFETY: the row belongs to this task only.
            let row = unsafe { self.out.part(row, 0, self.out.columns()) };
            let length = sum_of(simd, row, simd.splat(0.0), |simd, _, value| simd.mul(value, value)).sqrt();
            // Written so that NaN propagates.
            let length = if length < self.epsilon { self.epsilon } else { length };
            scale_row(simd, row, 1.0 / length);
        }
    }
}

/// Sums a function of the values with four accumulators; nothing beyond the end counts.
#[inline(always)]
fn sum_of<S: Simd>(
    simd: S,
    values: &[f32],
    argument: S::Vector,
    function: impl Fn(S, S::Vector, S::Vector) -> S::Vector,
) -> f32 {
    let zero = simd.splat(0.0);
    let mut sums = [zero; 4];
    let mut chunks = values.chunks_exact(4 * S::LANES);
    for chunk in &mut chunks {
        for (index, sum) in sums.iter_mut().enumerate() {
            *sum = simd.add(*sum, function(simd, argument, simd.load(&chunk[index * S::LANES..])));
        }
    }
    let rest = chunks.remainder();
    for (index, start) in (0..rest.len()).step_by(S::LANES).enumerate() {
        let part = &rest[start..rest.len().min(start + S::LANES)];
        let mut term = function(simd, argument, load(simd, part));
        if part.len() < S::LANES {
            // Lanes past the end hold the function of zero: keep only those within the part.
            let mut lanes = [0.0; 16];
            simd.store(&mut lanes, term);
            term = load(simd, &lanes[..part.len()]);
        }
        sums[index] = simd.add(sums[index], term);
    }
    simd.sum(simd.add(simd.add(sums[0], sums[1]), simd.add(sums[2], sums[3])))
}

/// Multiplies a row by a factor.
#[inline(always)]
fn scale_row<S: Simd>(simd: S, row: &mut [f32], factor: f32) {
    let factor = simd.splat(factor);
    for start in (0..row.len()).step_by(S::LANES) {
        let place = start..row.len().min(start + S::LANES);
        let value = simd.mul(load(simd, &row[place.clone()]), factor);
        store(simd, &mut row[place], value);
    }
}

/// Replaces a row by `exp(factor * row + bias - max)` and returns the inverse of the sum, 0 for an empty row.
#[inline(always)]
pub(crate) fn softmax_row<S: Simd>(simd: S, row: &mut [f32], factor: f32, bias: Option<&[f32]>) -> f32 {
    if row.is_empty() {
        return 0.0;
    }
    let factor = simd.splat(factor);
    let mut max = simd.splat(f32::NEG_INFINITY);
    for start in (0..row.len()).step_by(S::LANES) {
        let place = start..row.len().min(start + S::LANES);
        let mut value = simd.mul(load(simd, &row[place.clone()]), factor);
        if let Some(bias) = bias {
            value = simd.add(value, load(simd, &bias[place.clone()]));
        }
        store(simd, &mut row[place.clone()], value);
        max = simd.max(max, load_filled(simd, &row[place], f32::NEG_INFINITY));
    }
    let max = simd.splat(simd.max_lane(max));
    let mut sum = simd.splat(0.0);
    for start in (0..row.len()).step_by(S::LANES) {
        let place = start..row.len().min(start + S::LANES);
        let value = load_filled(simd, &row[place.clone()], f32::NEG_INFINITY);
        let value = math::exp(simd, simd.sub(value, max));
        store(simd, &mut row[place], value);
        sum = simd.add(sum, value);
    }
    1.0 / simd.sum(sum)
}
