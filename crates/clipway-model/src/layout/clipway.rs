//! clipway's own folder with integers: open_clip's names, each tensor of int8 or int4 with its scales beside it.

use clipway_formats::{Dtype, TensorInfo};

use super::{Conversion, Layout, open_clip};
use crate::plan::{Converted, GROUP_SCALE_SUFFIX, Integers, PlannedTensor, SCALE_SUFFIX, StepError};
use crate::state_dict::StateDict;

/// The layout.
pub(super) static LAYOUT: Layout = Layout {
    name: "clipway",
    title: "clipway int8 or int4",
    recognizes,
    conversion: Conversion::Steps(convert),
    known_config: None,
    check_numbers: None,
};

/// open_clip's names, with weights in integers: no other project has both.
fn recognizes(state_dict: &StateDict) -> bool {
    let is_quantized = state_dict.tensors().iter().any(|tensor| {
        scaled(&tensor.name, state_dict).is_some() || tensor.dtype == Dtype::I8 && tensor.shape.len() > 1
    });
    is_quantized && open_clip::recognizes(state_dict)
}

/// The integers that values are, by their dtype.
fn integers(dtype: Dtype) -> Option<Integers> {
    match dtype {
        Dtype::I8 => Some(Integers::Int8),
        Dtype::U8 => Some(Integers::Int4),
        _ => None,
    }
}

/// The integers that these are scales of, if they are.
fn scaled(name: &str, state_dict: &StateDict) -> Option<Integers> {
    [SCALE_SUFFIX, GROUP_SCALE_SUFFIX].into_iter().find_map(|suffix| {
        let base = state_dict.get(name.strip_suffix(suffix)?)?;
        integers(base.dtype).filter(|integers| integers.suffixes().contains(&suffix))
    })
}

/// Widens what is in integers.
fn convert(state_dict: &StateDict) -> Result<Converted, StepError> {
    let plain = open_clip::convert(state_dict)?;
    let mut converted = Converted { dropped: plain.dropped, ..Converted::default() };
    for planned in plain.tensors {
        let tensor = &planned.target;
        if scaled(&tensor.name, state_dict).is_some() {
            continue;
        }
        // Without their values, they are what no model has.
        let is_alone = tensor.name.ends_with(GROUP_SCALE_SUFFIX);
        match integers(tensor.dtype).filter(|_| !is_alone) {
            Some(from) => {
                let parts = parts(tensor, from, state_dict)?;
                converted.tensors.push(PlannedTensor::dequantized(from, parts)?);
            }
            None => converted.tensors.push(planned),
        }
    }
    Ok(converted)
}

/// A tensor in integers, with its scales.
fn parts(values: &TensorInfo, from: Integers, state_dict: &StateDict) -> Result<Vec<TensorInfo>, StepError> {
    let part = |suffix: &&str| {
        let name = format!("{}{suffix}", values.name);
        state_dict.get(&name).cloned().ok_or_else(|| {
            let cause = format!("it is in {from}, and its scales `{name}` are missing");
            StepError { tensor: values.name.clone(), cause }
        })
    };
    from.suffixes().iter().map(part).collect()
}
