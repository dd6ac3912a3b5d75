//! Reads weights and builds the matrices and vectors that recipes describe.

use std::sync::{Mutex, PoisonError};

use clipway_formats::{Place, reserve};
use clipway_kernels::{Kernels, Window as KernelWindow};
use clipway_model::graph::{AttentionBias, GridMlp, ParameterId, Parameters, WeightLayout};
use clipway_model::plan::resample_grid;

use super::bias::Bias;
use super::compute::Compute;
use super::error::{EngineError, WeightError};
use super::recipe::{Addend, Block, Filters, Table, Vector};
use super::shape::Window;
use super::weights::{Elements, Weights};

/// Reads parameters and builds what a program's recipes describe.
pub(super) struct Loader<'a> {
    pub parameters: &'a Parameters,
    weights: &'a dyn Weights,
    pub kernels: &'a Kernels,
    pub compute: Compute,
    /// Buffers for weights before packing, about one per thread.
    scratch: Mutex<Vec<Vec<f32>>>,
}

impl<'a> Loader<'a> {
    pub fn new(
        parameters: &'a Parameters,
        weights: &'a dyn Weights,
        kernels: &'a Kernels,
        compute: Compute,
    ) -> Loader<'a> {
        Loader { parameters, weights, kernels, compute, scratch: Mutex::default() }
    }

    /// Hands a parameter's elements to `sink` as they are stored, each piece with the index of its first element, and
    /// checks that all came.
    pub fn stream(
        &self,
        id: ParameterId,
        sink: &mut dyn FnMut(usize, Elements<'_>),
    ) -> Result<(), EngineError> {
        let parameter = self.parameters.get(id);
        let mut found = 0;
        let read = self.weights.read(&parameter.name, &parameter.shape, &mut |piece| {
            let start = found;
            found += piece.len();
            if found <= parameter.elements() {
                sink(start, piece);
            }
        });
        let whole = read.and_then(|()| {
            if found == parameter.elements() {
                return Ok(());
            }
            let (expected, found) = (parameter.shape.clone(), vec![found]);
            Err(WeightError::Shape { expected, found })
        });
        whole.map_err(|cause| EngineError::Weight { name: parameter.name.clone(), cause })
    }

    /// Whether a parameter is stored in int8.
    pub fn is_int8(&self, id: ParameterId) -> bool {
        self.weights.is_int8(&self.parameters.get(id).name)
    }

    /// Reads a parameter into a buffer as f32.
    fn read(&self, id: ParameterId, out: &mut Vec<f32>) -> Result<(), EngineError> {
        out.clear();
        let parameter = self.parameters.get(id);
        reserve(out, parameter.elements(), || Place::Tensor(parameter.name.clone())).map_err(|cause| {
            EngineError::Weight { name: parameter.name.clone(), cause: WeightError::Read(Box::new(cause)) }
        })?;
        self.stream(id, &mut |_, piece| piece.widen(0..piece.len(), out))
    }

    pub fn owned(&self, id: ParameterId) -> Result<Vec<f32>, EngineError> {
        let mut values = Vec::new();
        self.read(id, &mut values)?;
        Ok(values)
    }

    /// One row of a parameter `[rows, width]`.
    pub fn row(&self, id: ParameterId, row: usize) -> Result<Vec<f32>, EngineError> {
        let width = self.parameters.get(id).shape[1];
        self.borrowed(id, |values| Ok(values[row * width..(row + 1) * width].to_vec()))
    }

    /// Passes a parameter's values to a function, which may change them.
    pub fn borrowed<R>(
        &self,
        id: ParameterId,
        function: impl FnOnce(&mut [f32]) -> Result<R, EngineError>,
    ) -> Result<R, EngineError> {
        let lock = || self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = lock().pop().unwrap_or_default();
        let result = self.read(id, &mut buffer).and_then(|()| function(&mut buffer));
        lock().push(buffer);
        result
    }

    /// Passes a block's rows to a function, one per output, with its factors applied.
    pub fn rows<R>(
        &self,
        block: &Block,
        inputs: usize,
        function: impl FnOnce(&[f32]) -> R,
    ) -> Result<R, EngineError> {
        if !block.addends.is_empty() {
            return Ok(function(&self.added_filters(block, inputs)?));
        }
        let factors = block.factors.as_ref().map(|factors| self.vector(factors)).transpose()?;
        self.borrowed(block.parameter, |values| {
            let mut transposed = Vec::new();
            let rows = match block.layout {
                WeightLayout::OutIn => &mut values[block.outputs.start * inputs..block.outputs.end * inputs],
                WeightLayout::InOut => {
                    let stored = values.len() / inputs;
                    for output in block.outputs.clone() {
                        transposed.extend(values[output..].iter().step_by(stored));
                    }
                    &mut transposed[..]
                }
            };
            if let Some(factors) = factors {
                for (row, factor) in rows.chunks_exact_mut(inputs).zip(factors) {
                    row.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
                }
            }
            Ok(function(rows))
        })
    }

    /// The filters of a block, one row per output, with their addends.
    fn added_filters(&self, block: &Block, inputs: usize) -> Result<Vec<f32>, EngineError> {
        let plain = Block { addends: Vec::new(), factors: None, ..block.clone() };
        let factors = block.factors.as_ref().map(|factors| self.vector(factors)).transpose()?;
        let mut sums =
            self.rows(&plain, inputs, |rows| rows.iter().copied().map(f64::from).collect::<Vec<_>>())?;
        if let Some(factors) = factors {
            for (row, factor) in sums.chunks_exact_mut(inputs).zip(factors) {
                row.iter_mut().for_each(|value| *value *= factor);
            }
        }
        for Addend { filters, within, factors } in &block.addends {
            let taps = within[0] * within[1];
            let factors = self.vector(factors)?;
            let rows = block.outputs.clone().zip(sums.chunks_exact_mut(inputs)).zip(&factors);
            match *filters {
                Filters::Unit => {
                    let channels = inputs / taps;
                    for ((output, row), factor) in rows {
                        row[output % channels * taps + taps / 2] += factor;
                    }
                }
                Filters::Parameter(parameter, kernel) => {
                    let values = self.owned(parameter)?;
                    let own = kernel[0] * kernel[1];
                    let [top, left] = [0, 1].map(|axis| (within[axis] - kernel[axis]) / 2);
                    for ((output, row), factor) in rows {
                        let small = &values[output * inputs / taps * own..][..inputs / taps * own];
                        for (channel, small) in small.chunks_exact(own).enumerate() {
                            for (place, &value) in small.iter().enumerate() {
                                let [y, x] = [top + place / kernel[1], left + place % kernel[1]];
                                row[channel * taps + y * within[1] + x] += f64::from(value) * factor;
                            }
                        }
                    }
                }
            }
        }
        Ok(single(&sums))
    }

    /// The rows added to each sample.
    pub fn table(&self, table: &Table) -> Result<Vec<f32>, EngineError> {
        let mut positions = self.owned(table.positions)?;
        let width = self.parameters.get(table.positions).matrix_shape()[1];
        if let Some(change) = table.change {
            positions = resample_grid(&positions, change, width);
        }
        let mut values = Vec::new();
        for token in &table.leading {
            values.extend(self.owned(*token)?);
        }
        let leading = values.len();
        if table.leading_have_positions {
            values.iter_mut().zip(&positions).for_each(|(value, position)| *value += position);
            values.extend_from_slice(positions.get(leading..).unwrap_or(&[]));
        } else {
            values.extend_from_slice(&positions);
        }
        if let Some(bias) = &table.bias {
            let bias = self.vector(bias)?;
            for row in values[leading..].chunks_exact_mut(width) {
                row.iter_mut().zip(&bias).for_each(|(value, b)| *value = (f64::from(*value) + b) as f32);
            }
        }
        Ok(values)
    }

    /// Bias of the scores of an attention with this many heads.
    pub fn bias(&self, bias: AttentionBias, heads: usize) -> Result<Bias, EngineError> {
        match bias {
            AttentionBias::Window { reach } => Ok(Bias::of_window(reach, heads)),
            AttentionBias::GridMlp { hidden_weight, hidden_bias, weight, bias, grid, skip } => {
                let mlp = GridMlp {
                    hidden_weight: self.owned(hidden_weight)?,
                    hidden_bias: self.owned(hidden_bias)?,
                    weight: self.owned(weight)?,
                    bias: self.owned(bias)?,
                };
                Ok(Bias::of_grid(&mlp, grid, skip))
            }
            AttentionBias::Buckets { table, reach } => {
                let shape = &self.parameters.get(table).shape;
                Ok(Bias::of_buckets(&self.owned(table)?, [shape[0], shape[1]], reach))
            }
        }
    }

    pub fn optional(&self, vector: Option<&Vector>) -> Result<Option<Vec<f32>>, EngineError> {
        vector.map(|vector| self.vector(vector).map(|values| single(&values))).transpose()
    }

    /// Computes a vector from its recipe.
    pub fn vector(&self, vector: &Vector) -> Result<Vec<f64>, EngineError> {
        let combine = |a: &Vector, b: &Vector, function: fn(f64, f64) -> f64| {
            let (a, b) = (self.vector(a)?, self.vector(b)?);
            Ok(a.into_iter().zip(b).map(|(a, b)| function(a, b)).collect())
        };
        Ok(match vector {
            Vector::Parameter(id) => self.owned(*id)?.into_iter().map(f64::from).collect(),
            Vector::Constant(value, count) => vec![*value; *count],
            Vector::Part(whole, range) => self.vector(whole)?[range.clone()].to_vec(),
            Vector::Joined(parts) => {
                let mut values = Vec::new();
                for part in parts {
                    values.extend(self.vector(part)?);
                }
                values
            }
            Vector::Product(a, b) => combine(a, b, |a, b| a * b)?,
            Vector::Sum(a, b) => combine(a, b, |a, b| a + b)?,
            Vector::NormScale { weight, variance, epsilon } => {
                let (weight, variance) = (self.owned(*weight)?, self.owned(*variance)?);
                let scale = |(w, v): (&f32, &f32)| f64::from(*w) / (f64::from(*v) + epsilon).sqrt();
                weight.iter().zip(&variance).map(scale).collect()
            }
            Vector::NormShift { norm, epsilon } => {
                let scale =
                    Vector::NormScale { weight: norm.weight, variance: norm.variance, epsilon: *epsilon };
                let (scale, mean, bias) =
                    (self.vector(&scale)?, self.owned(norm.mean)?, self.owned(norm.bias)?);
                let shift = |((s, m), b): ((f64, &f32), &f32)| f64::from(*b) - f64::from(*m) * s;
                scale.into_iter().zip(&mean).zip(&bias).map(shift).collect()
            }
            Vector::Repeated { factors, times, limit } => {
                let factor = |f: f32| match limit {
                    Some(limit) => f64::from(f.min(*limit)).exp(),
                    None => f64::from(f),
                };
                let factors = self.owned(*factors)?;
                factors.into_iter().flat_map(|f| std::iter::repeat_n(factor(f), *times)).collect()
            }
        })
    }
}

pub(super) fn kernel_window(window: Window) -> KernelWindow {
    let Window { kernel, stride, padding } = window;
    KernelWindow { kernel, stride, padding: padding.map(|side| [side; 2]), dilation: [1; 2] }
}

pub(super) fn single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}
