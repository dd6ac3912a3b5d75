//! How initializers are made from a model's weights.

use std::ops::Range;

use clipway_formats::TensorInfo;

use crate::graph::{
    AttentionBias, GridChange, GridMlp, ParameterId, Parameters, WeightLayout, WindowTable, distance_bucket,
    grid_steps,
};
use crate::plan::{resample_distances, resample_grid};
use crate::state_dict::cast_from_f32;

use super::int8::{Part, Table, TablePart, bytes_of, quantize_along};

/// Supplies the values of a model's parameters.
pub trait ParameterValues: Sync {
    /// Reads the parameter with an open_clip name and shape, row-major, as f32.
    ///
    /// # Errors
    /// The reason why it cannot be read, for people.
    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String>;

    /// Hands the same values to `sink`, in one piece or more.
    ///
    /// # Errors
    /// As [`ParameterValues::read`].
    fn stream(&self, name: &str, shape: &[usize], sink: &mut dyn FnMut(&[f32])) -> Result<(), String> {
        sink(&self.read(name, shape)?);
        Ok(())
    }
}

/// An initializer cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// A weight cannot be read.
    #[error("tensor `{name}`: {cause}")]
    Weight {
        /// Name of the weight.
        name: String,
        /// The cause.
        cause: String,
    },
    /// A weight to be quantized is NaN or infinite.
    #[error("tensor `{name}`: some values are NaN or infinite, which int8 cannot represent")]
    NotFinite {
        /// Name of the initializer.
        name: String,
    },
    /// Values that f16 cannot represent.
    #[error("tensor `{name}`: {count} values exceed fp16's maximum (65504)")]
    Overflow {
        /// Name of the initializer.
        name: String,
        /// Number of values.
        count: usize,
    },
}

impl MakeError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            MakeError::Weight { .. } => "weight",
            MakeError::NotFinite { .. } => "not-finite",
            MakeError::Overflow { .. } => "overflow",
        }
    }
}

/// Factors applied to the outputs of a linear layer or convolution.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Factor {
    /// One number for the first `n` outputs; the others are unchanged.
    First(usize, f64),
    /// The elements of a parameter.
    Parameter(ParameterId),
    /// `weight / sqrt(variance + epsilon)`.
    Norm(Norm),
}

/// A batch norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Norm {
    pub weight: ParameterId,
    pub bias: ParameterId,
    pub mean: ParameterId,
    pub variance: ParameterId,
    pub epsilon: f64,
}

/// What directly follows a linear layer or convolution and is merged into its weights, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct After {
    pub factors: Vec<Factor>,
}

/// Normalization of bytes: subtract the mean, divide by the standard deviation, per color.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Colors {
    pub mean: [f64; 3],
    pub std: [f64; 3],
}

impl Colors {
    /// Factor applied to a byte.
    pub fn factors(&self) -> [f64; 3] {
        self.std.map(|std| 1.0 / (255.0 * std))
    }

    /// Offset added afterwards.
    pub fn shifts(&self) -> [f64; 3] {
        std::array::from_fn(|color| -self.mean[color] / self.std[color])
    }
}

/// How to make an initializer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Recipe {
    /// These integers.
    Integers(Vec<i64>),
    /// These numbers.
    Numbers(Vec<f64>),
    /// A parameter, unchanged.
    Parameter(ParameterId),
    /// The exponential of each element.
    Exponential(ParameterId),
    /// Rows of a parameter `[rows, width]`.
    Rows(ParameterId, Range<usize>),
    /// A parameter repeated this many times.
    Repeated(ParameterId, usize),
    /// Outputs of a linear weight, as `[inputs, outputs]`.
    Matrix { weight: ParameterId, layout: WeightLayout, outputs: Range<usize>, after: After },
    /// Bias of a linear layer or convolution with this many outputs, including batch norms after it and colors before
    /// it (for filters `[outputs, 3, height, width]`).
    Bias {
        bias: Option<(ParameterId, usize)>,
        outputs: usize,
        after: After,
        colors: Option<(Colors, ParameterId)>,
    },
    /// Filters of a convolution.
    Filters { weight: ParameterId, after: After, colors: Option<Colors> },
    /// Factors of a standalone batch norm.
    NormScale(Norm),
    /// Offsets of a standalone batch norm.
    NormShift(Norm),
    /// A position table for another grid.
    Grid(ParameterId, GridChange),
    /// Each factor repeated this many times; `exp(min(factor, limit))` if there is a limit.
    HeadFactors { factors: ParameterId, times: usize, limit: Option<f32> },
    /// Bias of an attention's scores, `[1, heads, tokens, tokens]`.
    Scores { bias: AttentionBias, tokens: usize },
    /// Bias of a window attention's scores, `[1, heads, area, area]`.
    Window { table: WindowTable, window: [usize; 2] },
    /// A tensor of this shape in int8, quantized along an axis: its values or its scales.
    Quantized { of: Box<Recipe>, shape: Vec<usize>, axis: usize, part: Part },
    /// A part of a table of embeddings in int8.
    Table { table: ParameterId, part: TablePart },
}

impl Recipe {
    /// Whether it names parameters and holds no numbers itself.
    pub fn is_of_parameters(&self) -> bool {
        !matches!(self, Recipe::Integers(_) | Recipe::Numbers(_))
    }
}

/// Elements that are cast at once.
const PIECE: usize = 1 << 16;

/// Makes the elements of an initializer and hands them to `sink` as little-endian bytes, in pieces of whole elements. A
/// parameter that is stored as it is passes through in pieces; everything else is held in memory once or twice.
pub(super) fn make(
    info: &TensorInfo,
    recipe: &Recipe,
    parameters: &Parameters,
    values: &dyn ParameterValues,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), MakeError> {
    let maker = Maker { parameters, values };
    let not_finite = || MakeError::NotFinite { name: info.name.clone() };
    let mut count = 0;
    let mut bytes = Vec::new();
    let mut cast = |numbers: &[f32]| {
        for piece in numbers.chunks(PIECE) {
            bytes.clear();
            count += cast_from_f32(info.dtype, piece, &mut bytes);
            sink(&bytes);
        }
    };
    match recipe {
        Recipe::Integers(numbers) => {
            let size = info.dtype.size();
            let bytes = numbers.iter().flat_map(|number| number.to_le_bytes().into_iter().take(size));
            sink(&bytes.collect::<Vec<u8>>());
        }
        Recipe::Quantized { of, shape, axis, part } => {
            let made = quantize_along(&maker.numbers(of)?, shape, *axis);
            let (quantized, scales) = made.ok_or_else(not_finite)?;
            match part {
                Part::Values => quantized.chunks(PIECE).for_each(|piece| sink(&bytes_of(piece))),
                Part::Scales => cast(&scales),
            }
        }
        Recipe::Table { table, part } => {
            let width = parameters.get(*table).matrix_shape()[1];
            let made = Table::of(&maker.read(*table)?, width);
            let made = made.ok_or_else(not_finite)?;
            match part {
                TablePart::Values => made.values.chunks(PIECE).for_each(|piece| sink(&bytes_of(piece))),
                TablePart::Roots => sink(&made.roots),
                TablePart::Step => cast(&[made.step]),
            }
        }
        Recipe::Parameter(id) => {
            let parameter = parameters.get(*id);
            let mut found = 0;
            let mut sink = |numbers: &[f32]| {
                found += numbers.len();
                cast(numbers);
            };
            let streamed = values.stream(&parameter.name, &parameter.shape, &mut sink);
            streamed.map_err(|cause| maker.unread(*id, cause))?;
            maker.check_count(*id, found)?;
        }
        recipe => cast(&maker.numbers(recipe)?),
    }
    match count {
        0 => Ok(()),
        count => Err(MakeError::Overflow { name: info.name.clone(), count }),
    }
}

struct Maker<'a> {
    parameters: &'a Parameters,
    values: &'a dyn ParameterValues,
}

impl Maker<'_> {
    fn read(&self, id: ParameterId) -> Result<Vec<f32>, MakeError> {
        let parameter = self.parameters.get(id);
        let read = self.values.read(&parameter.name, &parameter.shape);
        let values = read.map_err(|cause| self.unread(id, cause))?;
        self.check_count(id, values.len())?;
        Ok(values)
    }

    fn unread(&self, id: ParameterId, cause: String) -> MakeError {
        MakeError::Weight { name: self.parameters.get(id).name.clone(), cause }
    }

    /// Checks how many values of a parameter were read.
    fn check_count(&self, id: ParameterId, found: usize) -> Result<(), MakeError> {
        let expected = self.parameters.get(id).elements();
        match found == expected {
            true => Ok(()),
            false => Err(self.unread(id, format!("expected {expected} values, found {found}"))),
        }
    }

    fn shape(&self, id: ParameterId) -> &[usize] {
        &self.parameters.get(id).shape
    }

    fn numbers(&self, recipe: &Recipe) -> Result<Vec<f32>, MakeError> {
        Ok(match recipe {
            Recipe::Integers(numbers) => numbers.iter().map(|number| *number as f32).collect(),
            Recipe::Quantized { .. } | Recipe::Table { .. } => {
                unreachable!("what is in int8 is not made of numbers")
            }
            Recipe::Numbers(numbers) => numbers.iter().map(|number| *number as f32).collect(),
            Recipe::Parameter(id) => self.read(*id)?,
            Recipe::Exponential(id) => {
                self.read(*id)?.into_iter().map(|value| f64::from(value).exp() as f32).collect()
            }
            Recipe::Rows(id, rows) => {
                let width = self.parameters.get(*id).matrix_shape()[1];
                self.read(*id)?[rows.start * width..rows.end * width].to_vec()
            }
            Recipe::Repeated(id, times) => self.read(*id)?.repeat(*times),
            Recipe::Matrix { weight, layout, outputs, after } => {
                self.matrix(*weight, *layout, outputs, after)?
            }
            Recipe::Bias { bias, outputs, after, colors } => self.bias(*bias, *outputs, after, *colors)?,
            Recipe::Filters { weight, after, colors } => self.filters(*weight, after, *colors)?,
            Recipe::NormScale(norm) => single(&self.norm(norm)?.0),
            Recipe::NormShift(norm) => single(&self.norm(norm)?.1),
            Recipe::Grid(table, change) => {
                let width = self.parameters.get(*table).matrix_shape()[1];
                resample_grid(&self.read(*table)?, *change, width)
            }
            Recipe::HeadFactors { factors, times, limit } => {
                let factor = |f: f32| match limit {
                    Some(limit) => f64::from(f.min(*limit)).exp() as f32,
                    None => f,
                };
                let factors = self.read(*factors)?.into_iter().map(factor);
                factors.flat_map(|factor| std::iter::repeat_n(factor, *times)).collect()
            }
            Recipe::Scores { bias, tokens } => self.scores(bias, *tokens)?,
            Recipe::Window { table, window } => {
                let heads = self.shape(table.table)[1];
                let mut values = self.read(table.table)?;
                if table.window != *window {
                    values = resample_distances(&values, [table.window, *window], heads);
                }
                let steps = grid_steps(*window);
                (0..heads)
                    .flat_map(|head| steps.iter().map(move |step| (head, *step)))
                    .map(|(head, step)| values[step * heads + head])
                    .collect()
            }
        })
    }

    /// Factor of each output.
    fn factors(&self, after: &After, outputs: usize) -> Result<Option<Vec<f64>>, MakeError> {
        let mut product: Option<Vec<f64>> = None;
        for factor in &after.factors {
            let values = match factor {
                Factor::First(count, factor) => {
                    (0..outputs).map(|output| if output < *count { *factor } else { 1.0 }).collect()
                }
                Factor::Parameter(id) => self.read(*id)?.into_iter().map(f64::from).collect(),
                Factor::Norm(norm) => self.norm(norm)?.0,
            };
            product = Some(match product {
                None => values,
                Some(before) => before.iter().zip(&values).map(|(a, b)| a * b).collect(),
            });
        }
        Ok(product)
    }

    fn matrix(
        &self,
        weight: ParameterId,
        layout: WeightLayout,
        outputs: &Range<usize>,
        after: &After,
    ) -> Result<Vec<f32>, MakeError> {
        let values = self.read(weight)?;
        let factors = self.factors(after, outputs.len())?;
        let scaled = |value: f32, output: usize| match &factors {
            Some(factors) => (f64::from(value) * factors[output]) as f32,
            None => value,
        };
        let (rows, columns) = (self.shape(weight)[0], self.shape(weight)[1]);
        let mut out = vec![0.0; outputs.len() * if layout == WeightLayout::OutIn { columns } else { rows }];
        match layout {
            WeightLayout::OutIn => {
                // In blocks, so that both sides stay in the cache.
                const BLOCK: usize = 32;
                for first in (0..outputs.len()).step_by(BLOCK) {
                    for input in 0..columns {
                        for output in first..outputs.len().min(first + BLOCK) {
                            let value = values[(outputs.start + output) * columns + input];
                            out[input * outputs.len() + output] = scaled(value, output);
                        }
                    }
                }
            }
            WeightLayout::InOut => {
                for (input, row) in values.chunks_exact(columns).enumerate() {
                    for (output, value) in row[outputs.clone()].iter().enumerate() {
                        out[input * outputs.len() + output] = scaled(*value, output);
                    }
                }
            }
        }
        Ok(out)
    }

    fn bias(
        &self,
        bias: Option<(ParameterId, usize)>,
        outputs: usize,
        after: &After,
        colors: Option<(Colors, ParameterId)>,
    ) -> Result<Vec<f32>, MakeError> {
        let mut values = match bias {
            Some((id, first)) => {
                self.read(id)?[first..first + outputs].iter().copied().map(f64::from).collect()
            }
            None => vec![0.0; outputs],
        };
        if let Some((colors, filters)) = colors {
            let (filters, shifts) = (self.read(filters)?, colors.shifts());
            let taps = filters.len() / outputs / shifts.len();
            for (value, filters) in values.iter_mut().zip(filters.chunks_exact(shifts.len() * taps)) {
                for (taps, shift) in filters.chunks_exact(taps).zip(shifts) {
                    *value += taps.iter().map(|tap| f64::from(*tap)).sum::<f64>() * shift;
                }
            }
        }
        for factor in &after.factors {
            let single = After { factors: vec![factor.clone()] };
            if let Some(factors) = self.factors(&single, outputs)? {
                values.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
            }
            if let Factor::Norm(norm) = factor {
                values.iter_mut().zip(self.norm(norm)?.1).for_each(|(value, shift)| *value += shift);
            }
        }
        Ok(single(&values))
    }

    fn filters(
        &self,
        weight: ParameterId,
        after: &After,
        colors: Option<Colors>,
    ) -> Result<Vec<f32>, MakeError> {
        let mut values = self.read(weight)?;
        let outputs = self.shape(weight)[0];
        let (factors, colors) = (self.factors(after, outputs)?, colors.map(|colors| colors.factors()));
        if factors.is_none() && colors.is_none() {
            return Ok(values);
        }
        let taps: usize = self.shape(weight)[2..].iter().product();
        let filter = values.len() / outputs;
        for (output, filter) in values.chunks_exact_mut(filter).enumerate() {
            for (input, filter) in filter.chunks_exact_mut(taps).enumerate() {
                let factor = factors.as_ref().map_or(1.0, |factors| factors[output])
                    * colors.map_or(1.0, |colors| colors[input]);
                filter.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
            }
        }
        Ok(values)
    }

    /// Factors and offsets of a batch norm.
    fn norm(&self, norm: &Norm) -> Result<(Vec<f64>, Vec<f64>), MakeError> {
        let [weight, bias, mean, variance] = [norm.weight, norm.bias, norm.mean, norm.variance];
        let [weight, variance] = [self.read(weight)?, self.read(variance)?];
        let scale = |(w, v): (&f32, &f32)| f64::from(*w) / (f64::from(*v) + norm.epsilon).sqrt();
        let scale: Vec<f64> = weight.iter().zip(&variance).map(scale).collect();
        let [mean, bias] = [self.read(mean)?, self.read(bias)?];
        let shift = |((s, m), b): ((&f64, &f32), &f32)| f64::from(*b) - f64::from(*m) * s;
        let shift = scale.iter().zip(&mean).zip(&bias).map(shift).collect();
        Ok((scale, shift))
    }

    fn scores(&self, bias: &AttentionBias, tokens: usize) -> Result<Vec<f32>, MakeError> {
        match *bias {
            AttentionBias::Window { .. } => unreachable!("a window has no parameters"),
            AttentionBias::GridMlp { hidden_weight, hidden_bias, weight, bias, grid, skip } => {
                let [hidden_weight, hidden_bias] = [self.read(hidden_weight)?, self.read(hidden_bias)?];
                let [weight, bias] = [self.read(weight)?, self.read(bias)?];
                Ok(GridMlp { hidden_weight, hidden_bias, weight, bias }.pairs(grid, skip))
            }
            AttentionBias::Buckets { table, reach } => {
                let (values, buckets, heads) =
                    (self.read(table)?, self.shape(table)[0], self.shape(table)[1]);
                let mut out = Vec::with_capacity(heads * tokens * tokens);
                for head in 0..heads {
                    for query in 0..tokens {
                        let entry = |key: usize| {
                            let distance = key as i64 - query as i64;
                            values[distance_bucket(distance, buckets, reach) * heads + head]
                        };
                        out.extend((0..tokens).map(entry));
                    }
                }
                Ok(out)
            }
        }
    }
}

fn single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}
