//! clipway's own folder in int8: open_clip's names, each tensor of int8 with its scales beside it.

use clipway_formats::Dtype;

use super::{Conversion, Layout, open_clip};
use crate::plan::{Converted, PlannedTensor, SCALE_SUFFIX, StepError};
use crate::state_dict::StateDict;

/// The layout.
pub(super) static LAYOUT: Layout = Layout {
    name: "clipway",
    title: "clipway int8",
    recognizes,
    conversion: Conversion::Steps(convert),
    known_config: None,
    check_numbers: None,
};

/// open_clip's names, with weights in int8: no other project has both.
fn recognizes(state_dict: &StateDict) -> bool {
    let is_quantized = state_dict.tensors().iter().any(|tensor| {
        let base = tensor.name.strip_suffix(SCALE_SUFFIX).and_then(|name| state_dict.get(name));
        base.is_some_and(|base| base.dtype == Dtype::I8)
            || tensor.dtype == Dtype::I8 && tensor.shape.len() > 1
    });
    is_quantized && open_clip::recognizes(state_dict)
}

/// Widens what is in int8.
fn convert(state_dict: &StateDict) -> Result<Converted, StepError> {
    let plain = open_clip::convert(state_dict)?;
    let mut converted = Converted { dropped: plain.dropped, ..Converted::default() };
    for planned in plain.tensors {
        let tensor = &planned.target;
        if tensor.dtype == Dtype::I8 {
            let name = format!("{}{SCALE_SUFFIX}", tensor.name);
            let Some(scales) = state_dict.get(&name) else {
                let cause = format!("it is in int8, and its scales `{name}` are missing");
                return Err(StepError { tensor: tensor.name.clone(), cause });
            };
            converted.tensors.push(PlannedTensor::dequantized(tensor, scales)?);
            continue;
        }
        let is_scale = |name: &str| state_dict.get(name).is_some_and(|base| base.dtype == Dtype::I8);
        if !tensor.name.strip_suffix(SCALE_SUFFIX).is_some_and(is_scale) {
            converted.tensors.push(planned);
        }
    }
    Ok(converted)
}
