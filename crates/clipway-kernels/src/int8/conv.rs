//! Gathered rows of patches times int8 weights.

use super::dot::Dot;
use super::linear::{Int8Block, OnDot, QuantizeRows, with_dot};
use super::pack::PackedInt8;
use crate::buffer::view;
use crate::epilogue::Epilogue;
use crate::matrix::{Matrix, SharedMatrix};
use crate::threads::Kernels;
use std::ops::Range;

/// Some f32 rows of one task, times some panels.
pub(crate) struct Int8Rows<'a> {
    pub(crate) kernels: &'a Kernels,
    pub(crate) x: Matrix<'a>,
    /// The output row for row 0 of `x`.
    pub(crate) first_row: usize,
    pub(crate) weight: &'a PackedInt8,
    pub(crate) panels: Range<usize>,
    /// The output column for output 0 of the weights.
    pub(crate) column: usize,
    pub(crate) epilogue: &'a Epilogue<'a>,
    /// No other thread touches these rows in the panels' columns.
    pub(crate) out: SharedMatrix<'a>,
}

impl Int8Rows<'_> {
    /// Quantizes the rows and multiplies them.
    pub(crate) fn multiply(self) {
        with_dot(self.weight.path(), self);
    }
}

impl OnDot for Int8Rows<'_> {
    fn run<D: Dot>(self, dot: D) {
        let Self { kernels, x, first_row, weight, panels, column, epilogue, out } = self;
        let (rows, stride) = (x.rows(), weight.padded_inputs());
        // The scales fill whole cache lines, so that the values start on one.
        let scale_values = rows.next_multiple_of(16);
        let values = (rows * stride * size_of::<D::Value>()).div_ceil(size_of::<f32>());
        kernels.with_scratch(scale_values + values, |scratch| {
            let (scales, values) = scratch.split_at_mut(scale_values);
            let (scales, values) = (&mut scales[..rows], &mut view::<D::Value>(values)[..rows * stride]);
            dot.vectorize(QuantizeRows { x, first: 0, scales, values });
            let (scales, values) = (&*scales, &*values);
            for index in panels {
                let panel = weight.panel(index);
                let rows = 0..rows;
                dot.vectorize(Int8Block {
                    values,
                    scales,
                    stride,
                    rows,
                    first_row,
                    panel,
                    column,
                    epilogue,
                    out,
                });
            }
        });
    }
}
