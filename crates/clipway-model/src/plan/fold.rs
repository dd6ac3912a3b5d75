//! Folds training branches into one convolution, in f64.

use clipway_formats::{Dtype, TensorInfo};
use serde::Serialize;

use super::{PlannedTensor, Step, StepError};
use crate::graph::{Fold, FoldTerm, ParameterId, Parameters};

/// Name of the rule that drops the counters of folded batch norms.
pub(super) const COUNTERS: &str = "counters of batch norms that were folded";

/// Which tensor of a folded convolution to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FoldPart {
    /// Its filters, `[outputs, inputs / groups, height, width]`.
    Weight,
    /// Its bias, `[outputs]`.
    Bias,
}

/// One term of a folding; tensors are indices of sources.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FoldAddend {
    /// Filters, centered in the folded ones; `None` for the identity.
    pub filters: Option<usize>,
    /// Bias of the filters.
    pub bias: Option<usize>,
    /// Batch norm after them.
    pub norm: Option<FoldNorm>,
    /// Channel factors after that.
    pub scale: Option<usize>,
    /// Whether the term is subtracted.
    pub negative: bool,
}

/// A batch norm of a folding; tensors are indices of sources.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FoldNorm {
    /// Scale.
    pub weight: usize,
    /// Shift.
    pub bias: usize,
    /// Stored mean.
    pub mean: usize,
    /// Stored variance.
    pub variance: usize,
    /// Epsilon, added to the variance.
    pub epsilon: f64,
}

/// The two tensors of a folded convolution; `tensor` returns the source tensor of a branch's parameter.
pub(super) fn planned(
    fold: &Fold,
    parameters: &Parameters,
    tensor: &dyn Fn(ParameterId) -> TensorInfo,
) -> Result<[(ParameterId, PlannedTensor); 2], StepError> {
    let make = |part: FoldPart, target: ParameterId| {
        let parameter = parameters.get(target);
        let mut sources = Sources { tensors: Vec::new(), tensor };
        let terms: Vec<FoldAddend> =
            fold.terms.iter().filter_map(|term| sources.addend(term, part)).collect();
        let shape = parameter.shape.clone();
        let target_info =
            TensorInfo { name: parameter.name.clone(), dtype: Dtype::F32, shape: shape.clone() };
        let mut planned = PlannedTensor { target: target_info, sources: sources.tensors, steps: Vec::new() };
        planned.then(Step::Fold { part, shape, terms })?;
        Ok((target, planned))
    };
    Ok([make(FoldPart::Weight, fold.weight)?, make(FoldPart::Bias, fold.bias)?])
}

/// The sources of one folded tensor, without repeats.
struct Sources<'a> {
    tensors: Vec<TensorInfo>,
    tensor: &'a dyn Fn(ParameterId) -> TensorInfo,
}

impl Sources<'_> {
    fn index(&mut self, id: ParameterId) -> usize {
        let info = (self.tensor)(id);
        let found = self.tensors.iter().position(|tensor| tensor.name == info.name);
        found.unwrap_or_else(|| {
            self.tensors.push(info);
            self.tensors.len() - 1
        })
    }

    /// A term's contribution to one part; `None` if it contributes nothing.
    fn addend(&mut self, term: &FoldTerm, part: FoldPart) -> Option<FoldAddend> {
        if part == FoldPart::Bias && term.bias.is_none() && term.norm.is_none() {
            return None;
        }
        let filters = term.filters.filter(|_| part == FoldPart::Weight).map(|id| self.index(id));
        let bias = term.bias.filter(|_| part == FoldPart::Bias).map(|id| self.index(id));
        let norm = term.norm.map(|norm| FoldNorm {
            weight: self.index(norm.weight),
            bias: self.index(norm.bias),
            mean: self.index(norm.mean),
            variance: self.index(norm.variance),
            epsilon: norm.epsilon,
        });
        let scale = term.scale.map(|id| self.index(id));
        Some(FoldAddend { filters, bias, norm, scale, negative: term.negative })
    }
}

impl FoldAddend {
    /// Whether the term's tensors match a folded tensor of this shape.
    pub(super) fn fits(&self, part: FoldPart, shape: &[usize], inputs: &[TensorInfo]) -> bool {
        let Some(&outputs) = shape.first() else { return false };
        let vector = |index: usize| {
            inputs.get(index).is_some_and(|input| input.elements() == outputs && input.dtype.is_float())
        };
        let filters = |index: usize| {
            inputs.get(index).is_some_and(|input| {
                let fits = match (&input.shape[..], shape) {
                    (&[o, i, h, w], &[outputs, inputs, height, width]) => {
                        let centered =
                            |small: usize, large: usize| small <= large && (large - small).is_multiple_of(2);
                        [o, i] == [outputs, inputs] && centered(h, height) && centered(w, width)
                    }
                    _ => false,
                };
                fits && input.dtype.is_float()
            })
        };
        let norm = self
            .norm
            .as_ref()
            .is_none_or(|norm| [norm.weight, norm.bias, norm.mean, norm.variance].into_iter().all(vector));
        let rank = if part == FoldPart::Weight { 4 } else { 1 };
        norm && shape.len() == rank
            && self.filters.is_none_or(filters)
            && self.bias.is_none_or(vector)
            && self.scale.is_none_or(vector)
    }
}

/// Computes a folded tensor; `values` are the sources' values, with shapes `shapes`.
pub(super) fn fold(
    part: FoldPart,
    shape: &[usize],
    terms: &[FoldAddend],
    shapes: &[&[usize]],
    values: &[Vec<f32>],
) -> Vec<f32> {
    let mut sums = vec![0.0f64; shape.iter().product()];
    let outputs = shape[0];
    for term in terms {
        for output in 0..outputs {
            let at = |index: usize| f64::from(values[index][output]);
            let sign = if term.negative { -1.0 } else { 1.0 };
            let scale = sign * term.scale.map_or(1.0, at);
            let normed = term
                .norm
                .as_ref()
                .map_or(1.0, |norm| at(norm.weight) / (at(norm.variance) + norm.epsilon).sqrt());
            match part {
                FoldPart::Bias => {
                    let shift = term.norm.as_ref().map_or(0.0, |norm| at(norm.bias) - at(norm.mean) * normed);
                    sums[output] += scale * (shift + normed * term.bias.map_or(0.0, at));
                }
                FoldPart::Weight => {
                    let length = sums.len() / outputs;
                    let row = &mut sums[output * length..][..length];
                    let filters = term.filters.map(|index| (shapes[index], &values[index][..]));
                    add_filters(row, [shape[1], shape[2], shape[3]], output, filters, scale * normed);
                }
            }
        }
    }
    sums.into_iter().map(|sum| sum as f32).collect()
}

/// Adds `factor` times the filters of an output, or of the identity, to a row `[inputs, height, width]`.
fn add_filters(
    row: &mut [f64],
    [inputs, height, width]: [usize; 3],
    output: usize,
    filters: Option<(&[usize], &[f32])>,
    factor: f64,
) {
    let taps = height * width;
    let Some((shape, values)) = filters else {
        row[output % inputs * taps + height / 2 * width + width / 2] += factor;
        return;
    };
    let [small_height, small_width] = [shape[2], shape[3]];
    let [top, left] = [(height - small_height) / 2, (width - small_width) / 2];
    let own = small_height * small_width;
    for input in 0..inputs {
        for place in 0..own {
            let (y, x) = (top + place / small_width, left + place % small_width);
            let value = values[(output * inputs + input) * own + place];
            row[input * taps + y * width + x] += factor * f64::from(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pseudo-random numbers between -1 and 1.
    fn numbers(count: usize, seed: f32) -> Vec<f32> {
        (0..count).map(|index| (index as f32 * 1.7 + seed).sin()).collect()
    }

    /// The output of one convolution for a window of the input `[channels, height, width]`, in the middle of its map.
    fn apply(
        filters: &[f32],
        shape: [usize; 4],
        bias: f64,
        window: &[f32],
        side: usize,
        output: usize,
    ) -> f64 {
        let [_, inputs, height, width] = shape;
        let [top, left] = [(side - height) / 2, (side - width) / 2];
        let group = if inputs == 1 { output } else { 0 };
        let mut sum = bias;
        for input in 0..inputs {
            for place in 0..height * width {
                let (y, x) = (top + place / width, left + place % width);
                let value = window[((group + input) * side + y) * side + x];
                let filter = filters[(output * inputs + input) * height * width + place];
                sum += f64::from(value) * f64::from(filter);
            }
        }
        sum
    }

    #[test]
    fn a_folded_convolution_gives_what_its_branches_give() {
        // Depthwise and dense: two branches and the input, each normalized, one subtracted, all scaled.
        for inputs in [1, 3] {
            let (outputs, side) = (3, 5);
            let shapes = [
                vec![outputs, inputs, 5, 5],
                vec![outputs, inputs, 3, 1],
                vec![outputs],
                vec![outputs],
                vec![outputs],
                vec![outputs],
                vec![outputs, 1, 1],
            ];
            let mut values: Vec<Vec<f32>> = shapes
                .iter()
                .enumerate()
                .map(|(seed, shape)| numbers(shape.iter().product(), seed as f32 * 10.0))
                .collect();
            values[5].iter_mut().for_each(|variance| *variance = variance.abs() + 0.5);
            let norm = Some(FoldNorm { weight: 2, bias: 3, mean: 4, variance: 5, epsilon: 1e-3 });
            let term = |filters, negative| FoldAddend {
                filters,
                bias: None,
                norm: norm.clone(),
                scale: Some(6),
                negative,
            };
            let terms = [term(Some(0), false), term(Some(1), true), term(None, false)];
            let views: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
            let weight = fold(FoldPart::Weight, &shapes[0], &terms, &views, &values);
            let bias = fold(FoldPart::Bias, &[outputs], &terms, &views, &values);
            let window = numbers(3 * side * side, 99.0);
            for output in 0..outputs {
                let at = |index: usize| f64::from(values[index][output]);
                let normed = |x: f64| (x - at(4)) / (at(5) + 1e-3).sqrt() * at(2) + at(3);
                let large = apply(&values[0], [outputs, inputs, 5, 5], 0.0, &window, side, output);
                let small = apply(&values[1], [outputs, inputs, 3, 1], 0.0, &window, side, output);
                let input = f64::from(window[output * side * side + side * side / 2]);
                let expected = at(6) * (normed(large) - normed(small) + normed(input));
                let shift = f64::from(bias[output]);
                let found = apply(&weight, [outputs, inputs, 5, 5], shift, &window, side, output);
                assert!((found - expected).abs() < 1e-6, "{inputs}: {expected}, {found}");
            }
        }
    }
}
