//! Tensors in integers: symmetric, with scales of their own beside them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use clipway_formats::{Code, Dtype, FormatError, Place, TensorInfo};
use serde::{Deserialize, Serialize};

use super::int4::group_count;
use super::{Plan, PlannedTensor, Step, StepError};
use crate::state_dict::{StateDict, cast_to_f32};

/// What stands after the name of a tensor in integers in the name of the scales of its rows.
pub const SCALE_SUFFIX: &str = ".scale";

/// What stands after the name of a tensor of int4 in the name of the scales of its groups.
pub const GROUP_SCALE_SUFFIX: &str = ".group_scale";

/// The integers that a tensor is stored in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Integers {
    /// A byte each, with a scale for each row of the first axis; see [`quantize_row`](super::quantize_row).
    #[default]
    Int8,
    /// Four bits each, with a scale for each row and each group of a row; see [`Int4Row`](super::Int4Row).
    Int4,
}

/// A part of a quantized tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Values,
    GroupScales,
    Scales,
}

impl Integers {
    /// Name in messages and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Integers::Int8 => "int8",
            Integers::Int4 => "int4",
        }
    }

    /// Whether a tensor of this shape can be stored so: it has rows, and those of int4 divide into groups.
    pub fn takes(self, shape: &[usize]) -> bool {
        shape.len() > 1
            && match self {
                Integers::Int8 => true,
                Integers::Int4 => group_count(shape[1..].iter().product()).is_some(),
            }
    }

    /// Dtype and shape of a part of a tensor. Bytes of int4 hold an element of one row and that of the next.
    ///
    /// # Panics
    /// If the integers do not take this shape.
    pub(super) fn part(self, part: Part, shape: &[usize]) -> (Dtype, Vec<usize>) {
        let rows = shape[0];
        match (part, self) {
            (Part::Values, Integers::Int8) => (Dtype::I8, shape.to_vec()),
            (Part::Values, Integers::Int4) => {
                let mut packed = shape.to_vec();
                packed[0] = rows.div_ceil(2);
                (Dtype::U8, packed)
            }
            (Part::GroupScales, _) => {
                let groups = group_count(shape[1..].iter().product()).expect("int4 takes this shape");
                (Dtype::I8, vec![rows, groups])
            }
            (Part::Scales, _) => (Dtype::F32, vec![rows]),
        }
    }

    /// The shape of a tensor from those of its parts; the error states what does not match.
    pub(super) fn whole(self, parts: &[TensorInfo]) -> Result<Vec<usize>, String> {
        let [values, groups @ .., scales] = parts else { return Err("no scales".to_owned()) };
        let wanted = match self {
            Integers::Int8 => "I8 with an F32 for each row",
            Integers::Int4 => "U8 with an I8 for each group and an F32 for each row, two rows in a byte",
        };
        let found = |info: &TensorInfo| format!("{} {:?}", info.dtype, info.shape);
        let refuse = || {
            let others: Vec<String> = parts[1..].iter().map(found).collect();
            Err(format!("{} with scales of {}: expected {wanted}", found(values), others.join(" and ")))
        };
        let ([stored, rest @ ..], [rows]) = (&values.shape[..], &scales.shape[..]) else { return refuse() };
        let width: usize = rest.iter().product();
        if scales.dtype != Dtype::F32 || rest.is_empty() {
            return refuse();
        }
        match (self, groups) {
            (Integers::Int8, []) if values.dtype == Dtype::I8 && stored == rows => {}
            (Integers::Int4, [groups])
                if [values.dtype, groups.dtype] == [Dtype::U8, Dtype::I8] && *stored == rows.div_ceil(2) =>
            {
                match groups.shape[..] {
                    [counted, count] if counted == *rows => {
                        if count == 0 || !width.is_multiple_of(count) {
                            return Err(format!("{width} values in a row do not divide into {count} groups"));
                        }
                    }
                    _ => return refuse(),
                }
            }
            _ => return refuse(),
        }
        Ok([&[*rows], rest].concat())
    }

    /// What stands after a tensor's name in those of its stored parts, in their order.
    pub(crate) fn suffixes(self) -> &'static [&'static str] {
        match self {
            Integers::Int8 => &["", SCALE_SUFFIX],
            Integers::Int4 => &["", GROUP_SCALE_SUFFIX, SCALE_SUFFIX],
        }
    }
}

impl fmt::Display for Integers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
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

/// Checks the scales of groups as a file has them: -127 to 127 without 0.
pub(super) fn check_group_scales(name: &str, scales: &[i8], groups: usize) -> Result<(), FormatError> {
    match scales.iter().position(|scale| matches!(*scale, 0 | i8::MIN)) {
        None => Ok(()),
        Some(at) => {
            let (row, group, found) = (at / groups, at % groups, scales[at]);
            let cause = format!(
                "group {group} of row {row} has the scale {found}; it is a number from -127 to 127 without 0"
            );
            Err(FormatError::new(Code::BadValue, Place::Tensor(name.to_owned()), cause))
        }
    }
}

/// Checks a row of int8 as a file has it: -127 to 127, for which products are exact.
///
/// # Errors
/// A value of -128.
pub fn check_int8_row(name: &str, row: usize, values: &[i8]) -> Result<(), FormatError> {
    if !values.contains(&i8::MIN) {
        return Ok(());
    }
    let cause = format!("row {row} holds -128; int8 weights are -127 to 127");
    Err(FormatError::new(Code::BadValue, Place::Tensor(name.to_owned()), cause))
}

impl PlannedTensor {
    /// A tensor in integers from its stored parts, widened to f32.
    ///
    /// # Errors
    /// Parts of other dtypes or shapes than the integers have.
    pub fn dequantized(from: Integers, parts: Vec<TensorInfo>) -> Result<PlannedTensor, StepError> {
        let target = parts.first().cloned().expect("the values are a part");
        let mut planned = PlannedTensor { target, sources: parts, steps: Vec::new() };
        planned.then(Step::Dequantize { from })?;
        Ok(planned)
    }

    /// The integers that the tensor is stored in, if nothing but widening makes it.
    pub fn integers(&self) -> Option<Integers> {
        match self.steps[..] {
            [Step::Dequantize { from }] => Some(from),
            _ => None,
        }
    }

    /// Reads the scales of a tensor that is stored in integers, one for each row, and checks them.
    ///
    /// # Errors
    /// Scales that cannot be read, or are no finite numbers above 0.
    ///
    /// # Panics
    /// If the tensor does not begin with [`Step::Dequantize`] or the plan was not made for `source`.
    pub fn read_scales(&self, source: &StateDict) -> Result<Vec<f32>, FormatError> {
        let info = self.sources.last().expect("a tensor in integers has scales");
        let index = source.find(&info.name).expect("the plan was made for this source");
        let mut bytes = Vec::new();
        source.read_bytes(index, &mut bytes)?;
        let mut scales = vec![0.0; info.elements()];
        cast_to_f32(Dtype::F32, &bytes, &mut scales);
        check_scales(&info.name, &scales)?;
        Ok(scales)
    }
}

/// The places of tensors by what is made at once: the parts of a tensor in integers where they follow each other, and every
/// other tensor alone.
pub fn rounded_together(planned: &[PlannedTensor]) -> Vec<Range<usize>> {
    let is_with = |a: &PlannedTensor, b: &PlannedTensor| {
        let (Some((a_last, a_steps)), Some((b_last, b_steps))) = (a.steps.split_last(), b.steps.split_last())
        else {
            return false;
        };
        match (a_last.rounding(), b_last.rounding()) {
            (Some((a_to, _)), Some((b_to, _))) => {
                a_to == b_to && a.sources == b.sources && a_steps == b_steps
            }
            _ => false,
        }
    };
    let mut start = 0;
    let groups = planned.chunk_by(is_with).map(|group| {
        start += group.len();
        start - group.len()..start
    });
    groups.collect()
}

impl Plan {
    /// The plan with what is stored in integers as it is stored.
    pub(crate) fn with_integers_as_stored(self) -> Plan {
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for planned in self.tensors {
            let Some(integers) = planned.integers() else {
                tensors.push(planned);
                continue;
            };
            for (stored, suffix) in planned.sources.iter().zip(integers.suffixes()) {
                let mut same = PlannedTensor::same(stored);
                same.target.name = format!("{}{suffix}", planned.target.name);
                tensors.push(same);
            }
        }
        Plan { tensors, ..self }
    }

    /// The plan with some of its tensors in integers, each followed by its scales.
    ///
    /// # Errors
    /// A tensor that has no rows or no groups, or is not of floating-point numbers.
    pub fn quantized(&self, chosen: &BTreeMap<String, Integers>) -> Result<Plan, StepError> {
        let mut tensors = Vec::with_capacity(self.tensors.len() + 2 * chosen.len());
        for planned in &self.tensors {
            let Some(&to) = chosen.get(&planned.target.name) else {
                tensors.push(planned.clone());
                continue;
            };
            for suffix in to.suffixes() {
                let mut part = planned.clone();
                part.target.name.push_str(suffix);
                part.then(match *suffix {
                    SCALE_SUFFIX => Step::RowScales { of: to },
                    GROUP_SCALE_SUFFIX => Step::GroupScales,
                    _ => Step::Quantize { to },
                })?;
                tensors.push(part);
            }
        }
        let plan = Plan { layout: self.layout.clone(), tensors, dropped: self.dropped.clone() };
        plan.check()?;
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_of_files_are_checked() {
        for bad in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let error = check_scales("a.scale", &[1.0, bad]).expect_err("it is refused").to_string();
            let cause = format!("row 1 has the scale {bad}; a scale is a finite number above 0");
            assert!(error.contains(&cause) && error.contains("a.scale"), "{error}");
        }
        assert!(check_scales("a.scale", &[1.0, 1e-30]).is_ok());
        let error = check_group_scales("a.group_scale", &[1, -127, 127, 0], 2).expect_err("it is refused");
        assert!(error.to_string().contains("group 1 of row 1 has the scale 0"), "{error}");
    }

    #[test]
    fn parts_of_a_tensor_are_made_at_once() {
        let tensor = |name: &str| {
            let shape = vec![3, 16];
            PlannedTensor::same(&TensorInfo { name: name.to_owned(), dtype: Dtype::F32, shape })
        };
        let tensors = ["a", "b", "c", "d", "e"].map(tensor).to_vec();
        let plan = Plan { layout: "any".to_owned(), tensors, dropped: Vec::new() };
        let chosen =
            [("a", Integers::Int4), ("b", Integers::Int4), ("d", Integers::Int8), ("e", Integers::Int4)];
        let chosen = chosen.map(|(name, integers)| (name.to_owned(), integers)).into();
        let tensors = plan.quantized(&chosen).expect("they can be rounded").tensors;
        assert_eq!(rounded_together(&tensors), [0..3, 3..6, 6..7, 7..9, 9..12]);
        assert_eq!(rounded_together(&tensors[1..8]), [0..2, 2..5, 5..6, 6..7], "as cut by files of weights");
        assert!(rounded_together(&[]).is_empty());
    }

    #[test]
    fn parts_make_a_whole() {
        let info = |dtype, shape: &[usize]| TensorInfo { name: "a".to_owned(), dtype, shape: shape.to_vec() };
        let check = |integers: Integers, parts: &[TensorInfo], expected: Result<&[usize], &str>| {
            let found = integers.whole(parts);
            match expected {
                Ok(shape) => assert_eq!(found.as_deref(), Ok(shape)),
                Err(cause) => assert!(found.as_ref().is_err_and(|error| error.contains(cause)), "{found:?}"),
            }
        };
        let [values, scales] = [info(Dtype::U8, &[3, 3, 8]), info(Dtype::F32, &[5])];
        let groups = |shape: &[usize]| info(Dtype::I8, shape);
        let int4 = |groups: TensorInfo| [values.clone(), groups, scales.clone()];
        check(Integers::Int4, &int4(groups(&[5, 2])), Ok(&[5, 3, 8]));
        let uneven = "24 values in a row do not divide into 5 groups";
        check(Integers::Int4, &int4(groups(&[5, 5])), Err(uneven));
        check(Integers::Int4, &int4(groups(&[5, 0])), Err("do not divide into 0 groups"));
        check(
            Integers::Int4,
            &int4(groups(&[4, 2])),
            Err("U8 [3, 3, 8] with scales of I8 [4, 2] and F32 [5]"),
        );
        check(
            Integers::Int4,
            &[values.clone(), scales.clone()],
            Err("expected U8 with an I8 for each group"),
        );
        check(Integers::Int4, &[values.clone(), groups(&[7, 2]), info(Dtype::F32, &[7])], Err("expected U8"));
        check(Integers::Int8, &[info(Dtype::I8, &[5, 8]), scales.clone()], Ok(&[5, 8]));
        check(Integers::Int8, &[values.clone(), scales.clone()], Err("expected I8 with an F32 for each row"));
        for integers in [Integers::Int8, Integers::Int4] {
            let parts: Vec<TensorInfo> = [Part::Values, Part::GroupScales, Part::Scales]
                .into_iter()
                .filter(|part| integers == Integers::Int4 || *part != Part::GroupScales)
                .map(|part| {
                    let (dtype, shape) = integers.part(part, &[5, 3, 8]);
                    info(dtype, &shape)
                })
                .collect();
            check(integers, &parts, Ok(&[5, 3, 8]));
        }
        assert!(Integers::Int4.takes(&[5, 3, 8]) && !Integers::Int4.takes(&[5, 37]));
        assert!(Integers::Int8.takes(&[5, 37]) && !Integers::Int8.takes(&[5]));
    }
}
