//! Windows of a map: reordering, and attention within them.

use clipway_model::graph::{WindowTable, Windows};
use clipway_model::plan::resample_distances;

use super::attention::plain;
use super::step::{Operation, Prepared, Step};
use crate::engine::loader::Loader;
use crate::engine::shape::Shape;
use crate::engine::values::Values;
use crate::engine::windows::WindowBias;

/// Attention within windows; see `clipway_model::graph::Operation::WindowAttention`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct WindowAttention {
    pub heads: usize,
    pub windows: Windows,
    pub table: WindowTable,
}

struct WindowAttentionStep {
    heads: usize,
    bias: WindowBias,
}

impl Operation for WindowAttention {
    fn prepare(&self, _: Shape, loader: &Loader<'_>) -> Prepared {
        let WindowAttention { heads, windows, table } = *self;
        let mut values = loader.owned(table.table)?;
        if table.window != windows.window {
            values = resample_distances(&values, [table.window, windows.window], heads);
        }
        Ok(Box::new(WindowAttentionStep { heads, bias: WindowBias::new(&windows, &values, heads) }))
    }
}

impl Step for WindowAttentionStep {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        let width = values.width();
        let scale = (1.0 / ((width / self.heads) as f64).sqrt()) as f32;
        let spec = plain(width, self.heads, scale);
        let inputs = [0, 1, 2].map(|part| values.columns(0, part * width, width));
        self.bias.attend(values.kernels, &spec, values.batch.samples, inputs, out);
    }
}

/// A sample's rows reordered: for each place, the row that goes there. If rows become wider, several are concatenated.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::engine) struct Arrange(pub Vec<usize>);

impl Operation for Arrange {
    fn prepare(&self, _: Shape, _: &Loader<'_>) -> Prepared {
        Ok(Box::new(self.clone()))
    }
}

impl Step for Arrange {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        let Arrange(rows) = self;
        let width = values.shape(0).width;
        let samples = out.chunks_exact_mut(rows.len() * width);
        for (out, x) in samples.zip(values.data(0).chunks_exact(rows.len() * width)) {
            for (out, row) in out.chunks_exact_mut(width).zip(rows) {
                out.copy_from_slice(&x[row * width..][..width]);
            }
        }
    }
}
