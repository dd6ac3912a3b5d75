//! Normalization of rows, or of runs of channels within them.

use clipway_kernels::{Matrix, MatrixMut};
use clipway_model::graph::ParameterId;
use rayon::prelude::*;

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

/// Normalization of each run of channels as long as the weight, possibly the whole row, by its root mean square.
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
        let width = self.weight.len();
        let runs = out.len() / width;
        let x = Matrix::new(values.data(0), runs, width);
        values.kernels.rms_norm(x, &self.weight, self.epsilon, MatrixMut::new(out, runs, width));
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

/// Channels of a map scaled by their share of its whole response; see `clipway_model::graph::Operation::ResponseNorm`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct ResponseNorm {
    pub weight: ParameterId,
    pub bias: ParameterId,
    pub epsilon: f64,
}

struct ResponseNormStep {
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f64,
}

impl Operation for ResponseNorm {
    fn in_place(&self) -> Option<usize> {
        Some(0)
    }

    fn prepare(&self, _: Shape, loader: &Loader<'_>) -> Prepared {
        let (weight, bias) = (loader.owned(self.weight)?, loader.owned(self.bias)?);
        Ok(Box::new(ResponseNormStep { weight, bias, epsilon: self.epsilon }))
    }
}

impl Step for ResponseNormStep {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        values.copy_input(out);
        let samples = values.batch.samples.max(1);
        let size = (out.len() / samples).max(1);
        out.par_chunks_exact_mut(size).for_each(|map| self.scale(map));
    }
}

impl ResponseNormStep {
    /// Scales one sample's map, a row of channels for each place.
    fn scale(&self, map: &mut [f32]) {
        let width = self.weight.len();
        let mut lengths = vec![0.0_f64; width];
        for row in map.chunks_exact(width) {
            lengths.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x) * f64::from(*x));
        }
        lengths.iter_mut().for_each(|sum| *sum = sum.sqrt());
        let mean = lengths.iter().sum::<f64>() / width as f64 + self.epsilon;
        let factor = |(weight, length): (&f32, &f64)| (1.0 + f64::from(*weight) * length / mean) as f32;
        let factors: Vec<f32> = self.weight.iter().zip(&lengths).map(factor).collect();
        for row in map.chunks_exact_mut(width) {
            let pairs = factors.iter().zip(&self.bias);
            row.iter_mut().zip(pairs).for_each(|(x, (factor, bias))| *x = *x * factor + bias);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ResponseNormStep;

    #[test]
    fn channels_are_scaled_by_their_share_of_the_response() {
        // Lengths 5 and 1 over two places; their mean is 3.
        let step = ResponseNormStep { weight: vec![3.0, -6.0], bias: vec![0.5, 0.0], epsilon: 0.0 };
        let mut map = [3.0, 1.0, 4.0, 0.0];
        step.scale(&mut map);
        assert_eq!(map, [3.0 * 6.0 + 0.5, -1.0, 4.0 * 6.0 + 0.5, 0.0]);
        let mut nothing = [0.0; 4];
        ResponseNormStep { epsilon: 1e-6, ..step }.scale(&mut nothing);
        assert_eq!(nothing, [0.5, 0.0, 0.5, 0.0]);
    }
}
