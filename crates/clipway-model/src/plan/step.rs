//! The steps, and their effect on dtypes and shapes.

use std::fmt;
use std::sync::Arc;

use clipway_formats::{Dtype, TensorInfo};
use serde::{Serialize, Serializer};

use super::fold::{FoldAddend, FoldPart};
use super::quantize::{Integers, Part};
use crate::graph::GridChange;

/// One step from source tensors to a target tensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Joins the sources along an axis. Only as the first step.
    Concatenate {
        /// The axis.
        axis: usize,
    },
    /// Joins rows of the sources along the first axis: for each source the first row, and one past the last. Only as the
    /// first step.
    JoinRows {
        /// The rows of each source.
        parts: Vec<[usize; 2]>,
    },
    /// Joins the sources, each taken as rows of this many elements, whatever its shape. Only as the first step.
    Stack {
        /// Elements of a row.
        row: usize,
    },
    /// Takes part of an axis; several targets with such parts split a source.
    Slice {
        /// The axis.
        axis: usize,
        /// First index of the part.
        start: usize,
        /// One past the last index.
        end: usize,
    },
    /// Takes some rows of the first axis, in ascending order: those of a trimmed vocabulary.
    TakeRows {
        /// Their indices.
        #[serde(serialize_with = "count")]
        rows: Arc<[u32]>,
        /// Number of rows of the input.
        of: usize,
    },
    /// Reorders the axes: axis `i` of the result is axis `axes[i]` of the input.
    Transpose {
        /// The axes of the input, in the order of the result.
        axes: Vec<usize>,
    },
    /// Changes the shape without changing the elements.
    Reshape {
        /// The new shape.
        shape: Vec<usize>,
    },
    /// Resamples a position embedding `[prefix + height · width, width]` to another grid; the prefix tokens
    /// are kept. The result is f32.
    ResampleGrid(GridChange),
    /// Resamples a position embedding `[tokens, width]` to another number of tokens, linearly. The result is f32.
    ResampleRows {
        /// Number of tokens.
        from: usize,
        /// New number of tokens.
        to: usize,
    },
    /// Folds branches into a tensor of the convolution they were trained as, in f64. The result is f32. Only as the
    /// first step.
    Fold {
        /// Which tensor to make.
        part: FoldPart,
        /// Its shape.
        shape: Vec<usize>,
        /// The terms of the sum.
        terms: Vec<FoldAddend>,
    },
    /// Fills a tensor with one number, without a source. Only as the first step.
    Fill {
        /// The value of every element.
        value: i64,
        /// Its dtype: floating-point or `I64`.
        #[serde(serialize_with = "super::dtype_name")]
        dtype: Dtype,
        /// The shape.
        shape: Vec<usize>,
    },
    /// Rounds to integers, row by row along the first axis, with scales that leave the least squared error. Only as the
    /// last step, as are the scales.
    Quantize {
        /// The integers.
        to: Integers,
    },
    /// The scales of groups of [`Step::Quantize`] to int4, one int8 for each.
    GroupScales,
    /// The scales of rows of [`Step::Quantize`], one f32 for each.
    RowScales {
        /// The integers.
        of: Integers,
    },
    /// Multiplies integers, the first source, by their scales, the others. The result is f32. Only as the first step.
    Dequantize {
        /// The integers.
        from: Integers,
    },
    /// Adds the sources, each times its share, in f64, and rounds once. Only as the first step.
    Mix {
        /// The share of each source.
        shares: Vec<f64>,
        /// The dtype of the result.
        #[serde(serialize_with = "super::dtype_name")]
        to: Dtype,
    },
    /// Makes the identity matrix, from no source: a projection that changes nothing. Only as the first step.
    Identity {
        /// Its dtype, a floating-point one.
        #[serde(serialize_with = "super::dtype_name")]
        dtype: Dtype,
        /// Rows and columns.
        size: usize,
    },
    /// Rounds every element to another dtype: to nearest, ties to even.
    Cast {
        /// The new dtype.
        #[serde(serialize_with = "super::dtype_name")]
        to: Dtype,
    },
}

/// A step that does not match its input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{tensor}`: {cause}")]
pub struct StepError {
    /// The tensor.
    pub tensor: String,
    /// The cause.
    pub cause: String,
}

impl Step {
    /// Name of the step.
    pub const fn name(&self) -> &'static str {
        match self {
            Step::Concatenate { .. } => "concatenate",
            Step::JoinRows { .. } => "join rows",
            Step::Stack { .. } => "stack",
            Step::Slice { .. } => "slice",
            Step::TakeRows { .. } => "take rows",
            Step::Transpose { .. } => "transpose",
            Step::Reshape { .. } => "reshape",
            Step::ResampleGrid(_) | Step::ResampleRows { .. } => "resample",
            Step::Fold { .. } => "fold",
            Step::Fill { .. } => "fill",
            Step::Quantize { .. } => "quantize",
            Step::GroupScales => "scales of groups",
            Step::RowScales { .. } => "scales",
            Step::Dequantize { .. } => "dequantize",
            Step::Mix { .. } => "mix",
            Step::Identity { .. } => "identity",
            Step::Cast { .. } => "cast",
        }
    }

    /// The integers, and which part of a tensor in them the step makes, if it makes one.
    pub(super) fn rounding(&self) -> Option<(Integers, Part)> {
        match *self {
            Step::Quantize { to } => Some((to, Part::Values)),
            Step::GroupScales => Some((Integers::Int4, Part::GroupScales)),
            Step::RowScales { of } => Some((of, Part::Scales)),
            _ => None,
        }
    }

    /// Dtype and shape of the result.
    ///
    /// # Errors
    /// A step that does not match the inputs.
    pub fn result(&self, inputs: &[TensorInfo]) -> Result<(Dtype, Vec<usize>), StepError> {
        let tensor = inputs.first().map(|input| input.name.clone()).unwrap_or_default();
        let refuse = |cause: String| Err(StepError { tensor, cause });
        if let Step::Concatenate { axis } = self {
            return match joined(inputs, *axis) {
                Some(result) => Ok(result),
                None => refuse(format!("tensors that cannot be joined along axis {axis}")),
            };
        }
        if let Step::JoinRows { parts } = self {
            return match joined_rows(inputs, parts) {
                Some(result) => Ok(result),
                None => refuse(format!("tensors without the rows {parts:?}")),
            };
        }
        if let Step::Stack { row } = self {
            return match stacked(inputs, *row) {
                Some(result) => Ok(result),
                None => refuse(format!("tensors that are no rows of {row} elements")),
            };
        }
        if let Step::Fold { part, shape, terms } = self {
            return match terms.iter().all(|term| term.fits(*part, shape, inputs)) {
                true => Ok((Dtype::F32, shape.clone())),
                false => refuse(format!("branches that do not add up to {shape:?}")),
            };
        }
        if let (Step::Fill { dtype, shape, .. }, []) = (self, inputs) {
            return match dtype {
                Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::I64 => Ok((*dtype, shape.clone())),
                _ => refuse(format!("a {dtype} tensor filled with one number")),
            };
        }
        if let Step::Dequantize { from } = self {
            return match from.whole(inputs) {
                Ok(shape) => Ok((Dtype::F32, shape)),
                Err(cause) => refuse(cause),
            };
        }
        if let Step::Mix { shares, to } = self {
            let is_known = matches!(to, Dtype::F32 | Dtype::F16 | Dtype::BF16);
            let alike = |input: &TensorInfo| input.dtype.is_float() && input.shape == inputs[0].shape;
            return match is_known && !shares.is_empty() && shares.len() == inputs.len() {
                true if inputs.iter().all(alike) => Ok((*to, inputs[0].shape.clone())),
                _ => refuse(format!("tensors that cannot be added up with {} shares", shares.len())),
            };
        }
        if let (Step::Identity { dtype, size }, []) = (self, inputs) {
            return match dtype {
                Dtype::F32 | Dtype::F16 | Dtype::BF16 => Ok((*dtype, vec![*size; 2])),
                _ => refuse(format!("an identity matrix of {dtype}")),
            };
        }
        let [input] = inputs else {
            return refuse(format!("{} takes one tensor, not {}", self.name(), inputs.len()));
        };
        let mut shape = input.shape.clone();
        let mut dtype = input.dtype;
        let fits = match self {
            Step::Concatenate { .. }
            | Step::JoinRows { .. }
            | Step::Stack { .. }
            | Step::Fill { .. }
            | Step::Fold { .. }
            | Step::Identity { .. }
            | Step::Mix { .. }
            | Step::Dequantize { .. } => false,
            Step::Quantize { .. } | Step::GroupScales | Step::RowScales { .. } => match self.rounding() {
                Some((to, part)) if to.takes(&shape) && input.dtype.is_float() => {
                    (dtype, shape) = to.part(part, &shape);
                    true
                }
                _ => false,
            },
            Step::Slice { axis, start, end } => match shape.get_mut(*axis) {
                Some(length) if start < end && end <= length => {
                    *length = end - start;
                    true
                }
                _ => false,
            },
            Step::TakeRows { rows, of } => match shape.first_mut() {
                Some(length) if *length == *of && is_ascending_below(rows, *of) => {
                    *length = rows.len();
                    true
                }
                _ => false,
            },
            Step::Transpose { axes } => {
                let mut sorted = axes.clone();
                sorted.sort_unstable();
                let fits = sorted.into_iter().eq(0..shape.len());
                if fits {
                    shape = axes.iter().map(|&axis| input.shape[axis]).collect();
                }
                fits
            }
            Step::Reshape { shape: new } => {
                shape.clone_from(new);
                let elements = new.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
                elements == Some(input.elements())
            }
            Step::ResampleGrid(change) => {
                dtype = Dtype::F32;
                match (shape.first_mut(), change.rows()) {
                    (Some(rows), Some([from, to])) if *rows == from && input.shape.len() == 2 => {
                        *rows = to;
                        input.dtype.is_float()
                    }
                    _ => false,
                }
            }
            Step::ResampleRows { from, to } => {
                dtype = Dtype::F32;
                let fits = shape.len() == 2 && shape[0] == *from && *from > 0 && *to > 0;
                if fits {
                    shape[0] = *to;
                }
                fits && input.dtype.is_float()
            }
            Step::Cast { to } => {
                dtype = *to;
                let known = matches!(to, Dtype::F32 | Dtype::F16 | Dtype::BF16);
                known && input.dtype.is_float()
            }
        };
        if fits {
            Ok((dtype, shape))
        } else {
            refuse(format!("{self} does not apply to {} {:?}", input.dtype, input.shape))
        }
    }
}

/// Whether there are rows, in ascending order and without repeats, all below a limit.
fn is_ascending_below(rows: &[u32], limit: usize) -> bool {
    rows.is_sorted_by(|a, b| a < b) && rows.last().is_some_and(|last| (*last as usize) < limit)
}

/// Serializes rows by their number.
fn count<S: Serializer>(rows: &Arc<[u32]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(rows.len() as u64)
}

/// Dtype and shape of rows of several tensors.
fn joined_rows(inputs: &[TensorInfo], parts: &[[usize; 2]]) -> Option<(Dtype, Vec<usize>)> {
    if inputs.len() != parts.len() {
        return None;
    }
    let rows = inputs.iter().zip(parts).map(|(input, [start, end])| {
        let mut rows = input.clone();
        let fits = start < end && input.shape.first().is_some_and(|length| end <= length);
        *rows.shape.first_mut()? = end.checked_sub(*start)?;
        fits.then_some(rows)
    });
    joined(&rows.collect::<Option<Vec<_>>>()?, 0)
}

/// Dtype and shape of several tensors taken as rows.
fn stacked(inputs: &[TensorInfo], row: usize) -> Option<(Dtype, Vec<usize>)> {
    let first = inputs.first()?;
    let elements = inputs.iter().map(TensorInfo::elements);
    let fits =
        |input: &TensorInfo| input.dtype == first.dtype && row > 0 && input.elements().is_multiple_of(row);
    let rows = elements.map(|elements| elements / row.max(1)).sum();
    inputs.iter().all(fits).then(|| (first.dtype, vec![rows, row]))
}

fn joined(inputs: &[TensorInfo], axis: usize) -> Option<(Dtype, Vec<usize>)> {
    let (first, others) = inputs.split_first()?;
    let mut shape = first.shape.clone();
    for other in others {
        let without = |shape: &[usize]| [&shape[..axis], &shape[axis + 1..]].concat();
        let same = axis < shape.len() && other.shape.len() == shape.len() && other.dtype == first.dtype;
        if !same || without(&other.shape) != without(&shape) {
            return None;
        }
        shape[axis] = shape[axis].checked_add(other.shape[axis])?;
    }
    (axis < shape.len()).then_some((first.dtype, shape))
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Concatenate { axis } => write!(f, "concatenate(axis {axis})"),
            Step::JoinRows { parts } => {
                let parts: Vec<String> = parts.iter().map(|[start, end]| format!("{start}..{end}")).collect();
                write!(f, "join(rows {})", parts.join(" + "))
            }
            Step::Stack { row } => write!(f, "stack(rows of {row})"),
            Step::Slice { axis, start, end } => write!(f, "slice(axis {axis}, {start}..{end})"),
            Step::TakeRows { rows, of } => write!(f, "take({} of {of} rows)", rows.len()),
            Step::Transpose { axes } => write!(f, "transpose({axes:?})"),
            Step::Reshape { shape } => write!(f, "reshape({shape:?})"),
            Step::ResampleGrid(change) => write!(f, "resample({change})"),
            Step::ResampleRows { from, to } => write!(f, "resample({from} to {to} rows)"),
            Step::Fold { part: FoldPart::Weight, terms, .. } => {
                write!(f, "fold(weights of {} branches)", terms.len())
            }
            Step::Fold { part: FoldPart::Bias, terms, .. } => {
                write!(f, "fold(biases of {} branches)", terms.len())
            }
            Step::Fill { value, dtype, shape } => write!(f, "fill({value}, {dtype} {shape:?})"),
            Step::Quantize { to: Integers::Int8 } => f.write_str("quantize(I8 by row)"),
            Step::Quantize { to: Integers::Int4 } => f.write_str("quantize(I4 by group)"),
            Step::GroupScales => f.write_str("scales(I8 by group)"),
            Step::RowScales { .. } => f.write_str("scales(F32 by row)"),
            Step::Dequantize { from: Integers::Int8 } => f.write_str("dequantize(I8 by row)"),
            Step::Dequantize { from: Integers::Int4 } => f.write_str("dequantize(I4 by group)"),
            Step::Mix { shares, to } => {
                let shares: Vec<String> = shares.iter().map(f64::to_string).collect();
                write!(f, "mix({} to {to})", shares.join(" + "))
            }
            Step::Identity { dtype, size } => write!(f, "identity({dtype} {size}x{size})"),
            Step::Cast { to } => write!(f, "cast({to})"),
        }
    }
}
