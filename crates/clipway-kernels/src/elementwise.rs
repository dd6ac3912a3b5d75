//! Elementwise operations, and the mean over rows.

use crate::activation::Activation;
use crate::isa::{Kernel, Simd, load, store};
use crate::matrix::{MatrixMut, SharedMatrix};
use crate::threads::Kernels;
use std::ops::Range;

/// Values per task.
const TASK_VALUES: usize = 64 * 1024;

impl Kernels {
    /// Applies a function to every value.
    pub fn activation(&self, activation: Activation, values: &mut [f32]) {
        self.each(values, activation.work(), Operation::Activation(activation));
    }

    /// Adds `x` to `out`; a shorter `x` repeats, like the positions for each sequence of a batch.
    ///
    /// # Panics
    /// If the length of `out` is not a multiple of the length of `x`.
    pub fn add(&self, x: &[f32], out: &mut [f32]) {
        check_repeats(x, out);
        self.each(out, 1, Operation::Add(x));
    }

    /// Subtracts `x` from `out`; a shorter `x` repeats.
    ///
    /// # Panics
    /// If the length of `out` is not a multiple of the length of `x`.
    pub fn subtract(&self, x: &[f32], out: &mut [f32]) {
        check_repeats(x, out);
        self.each(out, 1, Operation::Subtract(x));
    }

    /// Multiplies `out` by `x`; a shorter `x` repeats, like a layer's scale for each row.
    ///
    /// # Panics
    /// If the length of `out` is not a multiple of the length of `x`.
    pub fn mul_channels(&self, x: &[f32], out: &mut [f32]) {
        check_repeats(x, out);
        self.each(out, 1, Operation::Multiply(x));
    }

    /// Writes the mean of each group of `rows` rows: `[groups, rows, width]` to `[groups, width]`.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn mean_rows(&self, x: &[f32], rows: usize, width: usize, out: &mut [f32]) {
        assert!(rows > 0 && width > 0 && out.len().is_multiple_of(width), "groups of [{rows}, {width}]");
        assert_eq!(x.len(), out.len() * rows, "groups of [{rows}, {width}]");
        let groups = out.len() / width;
        let out = MatrixMut::new(out, groups, width).share();
        self.parallel(groups, x.len(), |group| {
            self.isa().run(Mean { x: &x[group * rows * width..][..rows * width], width, group, out });
        });
    }

    /// Spreads an operation over the threads.
    fn each(&self, values: &mut [f32], work: usize, operation: Operation<'_>) {
        let len = values.len();
        let out = MatrixMut::new(values, 1, len).share();
        self.parallel(len.div_ceil(TASK_VALUES), len * work, |task| {
            let start = task * TASK_VALUES;
            self.isa().run(Each { out, range: start..len.min(start + TASK_VALUES), operation });
        });
    }
}

fn check_repeats(x: &[f32], out: &[f32]) {
    let fits = if x.is_empty() { out.is_empty() } else { out.len().is_multiple_of(x.len()) };
    assert!(fits, "{} values do not repeat to {}", x.len(), out.len());
}

#[derive(Clone, Copy)]
enum Operation<'a> {
    Activation(Activation),
    Add(&'a [f32]),
    Subtract(&'a [f32]),
    Multiply(&'a [f32]),
}

struct Each<'a> {
    out: SharedMatrix<'a>,
    range: Range<usize>,
    operation: Operation<'a>,
}

impl Kernel for Each<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        #[allow(unsafe_code)]
        // SAFETY: the range belongs to this task only.
        let values = unsafe { self.out.part(0, self.range.start, self.range.len()) };
        match self.operation {
            Operation::Activation(activation) => {
                for start in (0..values.len()).step_by(S::LANES) {
                    let place = start..values.len().min(start + S::LANES);
                    let value = activation.apply(simd, load(simd, &values[place.clone()]));
                    store(simd, &mut values[place], value);
                }
            }
            Operation::Add(x) => repeat(simd, x, self.range.start, values, S::add),
            Operation::Subtract(x) => repeat(simd, x, self.range.start, values, S::sub),
            Operation::Multiply(x) => repeat(simd, x, self.range.start, values, S::mul),
        }
    }
}

/// Combines values with a repeated `x`; the first value is at index `offset` of the whole.
#[inline(always)]
fn repeat<S: Simd>(
    simd: S,
    x: &[f32],
    offset: usize,
    values: &mut [f32],
    combine: impl Fn(S, S::Vector, S::Vector) -> S::Vector,
) {
    let mut start = 0;
    while start < values.len() {
        let x = &x[(offset + start) % x.len()..];
        let run = x.len().min(values.len() - start);
        for first in (0..run).step_by(S::LANES) {
            let end = run.min(first + S::LANES);
            let target = &mut values[start + first..start + end];
            let value = combine(simd, load(simd, target), load(simd, &x[first..end]));
            store(simd, target, value);
        }
        start += run;
    }
}

struct Mean<'a> {
    x: &'a [f32],
    width: usize,
    group: usize,
    out: SharedMatrix<'a>,
}

impl Kernel for Mean<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let rows = self.x.len() / self.width;
        let factor = simd.splat(1.0 / rows as f32);
        #[allow(unsafe_code)]
        // SAFETY: the group's row belongs to this task only.
        let out = unsafe { self.out.part(self.group, 0, self.width) };
        for start in (0..self.width).step_by(S::LANES) {
            let end = self.width.min(start + S::LANES);
            let mut sum = simd.splat(0.0);
            for row in 0..rows {
                sum = simd.add(sum, load(simd, &self.x[row * self.width..][start..end]));
            }
            store(simd, &mut out[start..end], simd.mul(sum, factor));
        }
    }
}
