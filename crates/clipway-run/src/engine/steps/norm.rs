//! Normalization of rows, or of runs of channels within them.

use clipway_kernels::{Matrix, MatrixMut};
use clipway_model::graph::ParameterId;

use super::step::{Operation, Prepared, Step};
use crate::engine::loader::Loader;
use crate::engine::shape::Shape;
use crate::engine::values::Values;

/// Minimum length when a run is divided by its length.
const SHORTEST: f32 = 1e-12;

/// Normalization of each run of channels as long as the weight, possibly the whole row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct LayerNorm {
    pub weight: ParameterId,
    pub bias: Option<ParameterId>,
    pub epsilon: f64,
}

struct LayerNormStep {
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    epsilon: f32,
}

impl Operation for LayerNorm {
    fn is_row_wise(&self) -> bool {
        true
    }

    fn prepare(&self, _: Shape, loader: &Loader<'_>) -> Prepared {
        Ok(Box::new(LayerNormStep {
            weight: loader.owned(self.weight)?,
            bias: self.bias.map(|bias| loader.owned(bias)).transpose()?,
            epsilon: self.epsilon as f32,
        }))
    }
}

impl Step for LayerNormStep {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        let width = self.weight.len();
        let runs = out.len() / width;
        let x = Matrix::new(values.data(0), runs, width);
        let out = MatrixMut::new(out, runs, width);
        values.kernels.layer_norm(x, Some(&self.weight), self.bias.as_deref(), self.epsilon, out);
    }
}

/// Normalization of each row by its root mean square.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct RmsNorm {
    pub weight: ParameterId,
    pub epsilon: f64,
}

struct RmsNormStep {
    weight: Vec<f32>,
    epsilon: f32,
}

impl Operation for RmsNorm {
    fn is_row_wise(&self) -> bool {
        true
    }

    fn prepare(&self, _: Shape, loader: &Loader<'_>) -> Prepared {
        Ok(Box::new(RmsNormStep { weight: loader.owned(self.weight)?, epsilon: self.epsilon as f32 }))
    }
}

impl Step for RmsNormStep {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        let out = MatrixMut::new(out, values.rows(), values.width());
        values.kernels.rms_norm(values.matrix(0), &self.weight, self.epsilon, out);
    }
}

/// Division of each of this many runs of channels by its length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct UnitHeads(pub usize);

impl Operation for UnitHeads {
    fn is_row_wise(&self) -> bool {
        true
    }

    fn in_place(&self) -> Option<usize> {
        Some(0)
    }

    fn prepare(&self, _: Shape, _: &Loader<'_>) -> Prepared {
        Ok(Box::new(*self))
    }
}

impl Step for UnitHeads {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        values.copy_input(out);
        let UnitHeads(heads) = *self;
        let out = MatrixMut::new(out, values.rows() * heads, values.width() / heads);
        values.kernels.l2_normalize(out, SHORTEST);
    }
}
