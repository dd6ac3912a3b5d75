//! Tensors in int8: symmetric, with a scale for each row of the first axis.

use std::collections::BTreeSet;

use clipway_formats::{Code, Dtype, FormatError, Place, TensorInfo};

use super::{Plan, PlannedTensor, Step, StepError};
use crate::state_dict::{StateDict, cast_to_f32};

/// What stands after the name of a tensor of int8 in the name of its scales.
pub const SCALE_SUFFIX: &str = ".scale";

/// The greatest quantized value; -128 is not used, so that both signs reach equally far.
const MOST: f32 = 127.0;

/// Shares of a row's greatest magnitude at which values are cut off, of which the best is taken.
const CUTS: [f32; 5] = [1.0, 0.95, 0.88, 0.8, 0.7];

/// Added to a number below 2^22 and subtracted again, it leaves the nearest integer, ties to even.
const MAGIC: f32 = (3_u32 << 22) as f32;

/// Quantizes a row to -127..=127 and returns its scale, which is above 0: the one of a few that leaves the least squared
/// error. `None` where a value is NaN or infinite.
///
/// # Panics
/// If `out` is not as long as `row`.
pub fn quantize_row(row: &[f32], out: &mut [i8]) -> Option<f32> {
    assert_eq!(row.len(), out.len(), "a place for each value");
    let most = row.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    if !row.iter().all(|value| value.is_finite()) {
        return None;
    }
    let mut best: Option<(f64, f32)> = None;
    for cut in CUTS {
        let start = (most * cut / MOST).max(f32::MIN_POSITIVE);
        // The scale that fits the rounded values best.
        let (mut dot, mut squares) = (0.0_f64, 0.0_f64);
        for value in row {
            let rounded = f64::from(rounded(*value, start));
            dot += rounded * f64::from(*value);
            squares += rounded * rounded;
        }
        let fitted = (dot / squares) as f32;
        let scale = if fitted.is_normal() { fitted } else { start };
        let error = |value: &f32| {
            let found = f64::from(rounded(*value, scale)) * f64::from(scale);
            (found - f64::from(*value)).powi(2)
        };
        let error = row.iter().map(error).sum::<f64>();
        if best.is_none_or(|(least, _)| error < least) {
            best = Some((error, scale));
        }
    }
    let scale = match best {
        Some((_, scale)) if most > 0.0 => scale,
        // A row of zeros has no scale of its own.
        _ => 1.0,
    };
    out.iter_mut().zip(row).for_each(|(out, value)| *out = rounded(*value, scale) as i8);
    Some(scale)
}

/// A value over a scale, as the nearest whole number of int8.
fn rounded(value: f32, scale: f32) -> f32 {
    ((value / scale).clamp(-MOST, MOST) + MAGIC) - MAGIC
}

/// Quantizes rows of `width` values; `Err` is the first row that is not finite.
pub(super) fn quantize_rows(values: &[f32], width: usize) -> Result<(Vec<i8>, Vec<f32>), usize> {
    let mut quantized = vec![0; values.len()];
    let rows = values.chunks_exact(width.max(1)).zip(quantized.chunks_exact_mut(width.max(1)));
    let scales = rows.enumerate().map(|(index, (row, out))| quantize_row(row, out).ok_or(index));
    let scales = scales.collect::<Result<Vec<_>, _>>()?;
    Ok((quantized, scales))
}

/// Checks scales as a file has them: finite numbers above 0.
pub(super) fn check_scales(name: &str, scales: &[f32]) -> Result<(), FormatError> {
    match scales.iter().position(|scale| !(scale.is_finite() && *scale > 0.0)) {
        None => Ok(()),
        Some(row) => {
            let cause =
                format!("row {row} has the scale {}; a scale is a finite number above 0", scales[row]);
            Err(FormatError::new(Code::BadValue, Place::Tensor(name.to_owned()), cause))
        }
    }
}

impl PlannedTensor {
    /// A tensor of int8 with its scales, widened to f32.
    ///
    /// # Errors
    /// Scales of another dtype or number than the rows of the tensor.
    pub fn dequantized(values: &TensorInfo, scales: &TensorInfo) -> Result<PlannedTensor, StepError> {
        let sources = vec![values.clone(), scales.clone()];
        let mut planned = PlannedTensor { target: values.clone(), sources, steps: Vec::new() };
        planned.then(Step::Dequantize)?;
        Ok(planned)
    }

    /// Whether the tensor is stored in int8 and nothing but widening makes it.
    pub fn is_int8(&self) -> bool {
        self.steps == [Step::Dequantize]
    }

    /// Reads the scales of a tensor that is stored in int8, and checks them.
    ///
    /// # Errors
    /// Scales that cannot be read, or are no finite numbers above 0.
    ///
    /// # Panics
    /// If the tensor is not [`PlannedTensor::is_int8`] or the plan was not made for `source`.
    pub fn read_scales(&self, source: &StateDict) -> Result<Vec<f32>, FormatError> {
        let [_, info] = &self.sources[..] else { panic!("a tensor of int8 has scales") };
        let index = source.find(&info.name).expect("the plan was made for this source");
        let mut bytes = Vec::new();
        source.read_bytes(index, &mut bytes)?;
        let mut scales = vec![0.0; info.elements()];
        cast_to_f32(Dtype::F32, &bytes, &mut scales);
        check_scales(&info.name, &scales)?;
        Ok(scales)
    }
}

impl Plan {
    /// The plan with what is stored in int8 as it is stored.
    pub(crate) fn with_int8_as_stored(self) -> Plan {
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for planned in self.tensors {
            match &planned.sources[..] {
                [values, scales] if planned.is_int8() => {
                    for (stored, suffix) in [(values, ""), (scales, SCALE_SUFFIX)] {
                        let mut same = PlannedTensor::same(stored);
                        same.target.name = format!("{}{suffix}", planned.target.name);
                        tensors.push(same);
                    }
                }
                _ => tensors.push(planned),
            }
        }
        Plan { tensors, ..self }
    }

    /// The plan with some of its tensors in int8, each followed by its scales.
    ///
    /// # Errors
    /// A tensor that has no rows, or is not of floating-point numbers.
    pub fn quantized(&self, names: &BTreeSet<String>) -> Result<Plan, StepError> {
        let mut tensors = Vec::with_capacity(self.tensors.len() + names.len());
        for planned in &self.tensors {
            if !names.contains(&planned.target.name) {
                tensors.push(planned.clone());
                continue;
            }
            let (mut values, mut scales) = (planned.clone(), planned.clone());
            values.then(Step::Quantize)?;
            scales.target.name.push_str(SCALE_SUFFIX);
            scales.then(Step::RowScales)?;
            tensors.extend([values, scales]);
        }
        let plan = Plan { layout: self.layout.clone(), tensors, dropped: self.dropped.clone() };
        plan.check()?;
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(row: &[f32], expected: Option<(f32, &[i8])>) {
        let mut out = vec![9; row.len()];
        let scale = quantize_row(row, &mut out);
        match expected {
            None => assert_eq!(scale, None),
            Some((expected, values)) => {
                let scale = scale.expect("finite");
                assert!((scale - expected).abs() <= expected.abs() * 1e-6, "{scale} against {expected}");
                assert_eq!(out, values);
            }
        }
    }

    #[test]
    fn rows_are_quantized_to_the_least_squared_error() {
        check(&[1.27, -0.64, 0.0, 0.01], Some((0.01, &[127, -64, 0, 1])));
        check(&[0.0, 0.0], Some((1.0, &[0, 0])));
        check(&[1.0, f32::NAN], None);
        check(&[f32::NEG_INFINITY, 1.0], None);
        check(&[], Some((1.0, &[])));
        check(&[1e-44, 0.0], Some((f32::MIN_POSITIVE, &[0, 0])));
    }

    #[test]
    fn a_single_far_value_is_cut_where_that_costs_less() {
        // Many values near half a step, and one far off: the plain scale rounds all of them badly.
        let mut row = vec![0.45; 20_000];
        row[7] = 127.0;
        let error = |scale: f32, values: &[i8]| {
            let differences =
                values.iter().zip(&row).map(|(v, x)| f64::from(*v) * f64::from(scale) - f64::from(*x));
            differences.map(|difference| difference * difference).sum::<f64>()
        };
        let mut out = vec![0; row.len()];
        let scale = quantize_row(&row, &mut out).expect("finite");
        let plain: Vec<i8> = row.iter().map(|value| value.round() as i8).collect();
        assert!(error(scale, &out) < 0.9 * error(1.0, &plain), "{scale}");
    }

    #[test]
    fn scales_of_files_are_checked() {
        for bad in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let error = check_scales("a.scale", &[1.0, bad]).expect_err("it is refused").to_string();
            let cause = format!("row 1 has the scale {bad}; a scale is a finite number above 0");
            assert!(error.contains(&cause) && error.contains("a.scale"), "{error}");
        }
        assert!(check_scales("a.scale", &[1.0, 1e-30]).is_ok());
    }
}
