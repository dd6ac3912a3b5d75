//! BAAI's EVA-CLIP in the names of its own code; open_clip has its image tower as timm's `Eva` under `visual.trunk.`.
//!
//! The names are those that timm's `checkpoint_filter_fn` in `timm/models/eva.py` (Apache-2.0) replaces.

use super::{Conversion, Layout, has_prefix};
use crate::plan::{Converted, DroppedTensor, PlannedTensor, StepError};
use crate::state_dict::StateDict;

/// The layout.
pub(super) static LAYOUT: Layout = Layout {
    name: "eva_clip",
    title: "EVA-CLIP with the names of its own code",
    recognizes: |tensors| {
        has_prefix(tensors, "visual.patch_embed.") && tensors.find("visual.blocks.0.attn.q_bias").is_some()
    },
    conversion: Conversion::Steps(convert),
    known_config: None,
    check_numbers: None,
};

/// Name of the rule that drops tables of rotary positions.
const ROTARY: &str = "rotary positions are computed, not stored";

/// Parts of names, with timm's.
const PARTS: [(&str, &str); 6] = [
    (".mlp.ffn_ln.", ".mlp.norm."),
    (".attn.inner_attn_ln.", ".attn.norm."),
    (".mlp.w12.", ".mlp.fc1."),
    (".mlp.w1.", ".mlp.fc1_g."),
    (".mlp.w2.", ".mlp.fc1_x."),
    (".mlp.w3.", ".mlp.fc2."),
];

/// Biases of queries and values, which are linear layers of their own where the matrices are apart.
const BIASES: [(&str, &str); 2] = [("q_bias", "q_proj.bias"), ("v_bias", "v_proj.bias")];

fn convert(state_dict: &StateDict) -> Result<Converted, StepError> {
    let are_apart = state_dict.find("visual.blocks.0.attn.q_proj.weight").is_some();
    let mut converted = Converted::default();
    for tensor in state_dict.tensors() {
        let Some(rest) = tensor.name.strip_prefix("visual.") else {
            converted.tensors.push(PlannedTensor::same(tensor));
            continue;
        };
        if rest.split('.').any(|part| part == "rope") {
            converted.dropped.push(DroppedTensor { tensor: tensor.clone(), rule: ROTARY });
            continue;
        }
        let mut name = format!("visual.trunk.{rest}");
        for (theirs, ours) in PARTS {
            name = name.replace(theirs, ours);
        }
        for (theirs, ours) in BIASES.into_iter().filter(|_| are_apart) {
            if let Some(module) = name.strip_suffix(theirs) {
                name = format!("{module}{ours}");
            }
        }
        let mut planned = PlannedTensor::same(tensor);
        planned.target.name = name;
        converted.tensors.push(planned);
    }
    Ok(converted)
}
