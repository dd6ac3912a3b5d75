//! Single values among the weights: the logit scale and bias.

use clipway_formats::FormatError;

use crate::plan::{Plan, apply_all};
use crate::state_dict::{StateDict, cast_to_f32};

/// The single value of a tensor made by a plan; `None` if the plan makes no such tensor, or one of another size.
///
/// # Errors
/// Bytes that cannot be read.
pub(super) fn read(plan: &Plan, weights: &StateDict, name: &str) -> Result<Option<f32>, FormatError> {
    let planned = plan.tensors.iter().find(|planned| planned.target.name == name);
    let Some(planned) = planned.filter(|one| one.target.elements() == 1 && one.target.dtype.is_float())
    else {
        return Ok(None);
    };
    let mut value = [0.0];
    apply_all(planned, weights, &mut |piece| cast_to_f32(planned.target.dtype, piece, &mut value))?;
    Ok(Some(value[0]))
}
