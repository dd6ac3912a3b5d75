//! open_clip's `CLIP`: image tower under `visual.`, text tower at the root.

use super::{Conversion, Layout, has_prefix};
use crate::plan::{Converted, DroppedTensor, PlannedTensor, ROOT_PARTS, StepError};
use crate::state_dict::StateDict;

/// The layout.
pub(super) static LAYOUT: Layout = Layout {
    name: "open_clip",
    title: "open_clip CLIP",
    recognizes,
    conversion: Conversion::Steps(convert),
    known_config: None,
    check_numbers: None,
};

/// Rules that drop tensors which open_clip once wrote and no longer reads, by the last part of the name.
const LEFTOVERS: [(&str, &str); 2] = [
    ("position_ids", "position ids are computed, not stored"),
    ("attn_mask", "the causal mask is computed, not stored"),
];

pub(super) fn recognizes(state_dict: &StateDict) -> bool {
    has_prefix(state_dict, "visual.") || ROOT_PARTS[2..].iter().any(|part| has_prefix(state_dict, part))
}

/// The tensors unchanged, without leftovers.
pub(super) fn convert(state_dict: &StateDict) -> Result<Converted, StepError> {
    Ok(without(state_dict, &leftover))
}

/// The rule that drops a leftover, if the name is one.
pub(super) fn leftover(name: &str) -> Option<&'static str> {
    let leaf = name.rsplit('.').next().unwrap_or_default();
    LEFTOVERS.into_iter().find(|(leftover, _)| *leftover == leaf).map(|(_, rule)| rule)
}

/// The tensors unchanged, without those that a rule drops.
pub(super) fn without(state_dict: &StateDict, rule_of: &dyn Fn(&str) -> Option<&'static str>) -> Converted {
    let mut converted = Converted::default();
    for tensor in state_dict.tensors() {
        match rule_of(&tensor.name) {
            Some(rule) => converted.dropped.push(DroppedTensor { tensor: tensor.clone(), rule }),
            None => converted.tensors.push(PlannedTensor::same(tensor)),
        }
    }
    converted
}
