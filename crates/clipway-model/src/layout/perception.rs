//! Meta's Perception Encoder (`PE-Core`) in the names of its own code, which are CLIP's with a pool that attends;
//! open_clip has its image tower as timm's `Eva` under `visual.trunk.`.
//!
//! The names are those that timm's `_convert_pe` in `timm/models/eva.py` (Apache-2.0) replaces.

use super::names::transpose;
use super::{Conversion, Layout};
use crate::plan::{Converted, PlannedTensor, Step, StepError};
use crate::state_dict::StateDict;

/// The layout.
pub(super) static LAYOUT: Layout = Layout {
    name: "perception_encoder",
    title: "Perception Encoder (PE-Core) with the names of its own code",
    recognizes: |tensors| {
        ["visual.attn_pool.probe", "visual.conv1.weight"].iter().all(|name| tensors.find(name).is_some())
    },
    conversion: Conversion::Steps(convert),
    known_config: None,
    check_numbers: None,
};

/// Beginnings of names below `visual.`, with timm's.
const MODULES: [(&str, &str); 9] = [
    ("conv1.", "patch_embed.proj."),
    ("class_embedding", "cls_token"),
    ("positional_embedding", "pos_embed"),
    ("ln_pre.", "norm_pre."),
    ("ln_post.", "norm."),
    ("attn_pool.probe", "attn_pool.latent"),
    ("attn_pool.attn.out_proj.", "attn_pool.proj."),
    ("attn_pool.layernorm.", "attn_pool.norm."),
    ("transformer.resblocks.", "blocks."),
];

/// Parts of a block and of the pool, with timm's.
const PARTS: [(&str, &str); 8] = [
    (".ln_1.", ".norm1."),
    (".ln_2.", ".norm2."),
    (".ls_1.gamma", ".gamma_1"),
    (".ls_2.gamma", ".gamma_2"),
    (".attn.in_proj_", ".attn.qkv."),
    (".attn.out_proj.", ".attn.proj."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
];

/// Queries, keys and values of the pool in one tensor.
const POOL: &str = "attn_pool.attn.in_proj_";

fn convert(state_dict: &StateDict) -> Result<Converted, StepError> {
    let mut converted = Converted::default();
    for tensor in state_dict.tensors() {
        let mut planned = PlannedTensor::same(tensor);
        let Some(rest) = tensor.name.strip_prefix("visual.") else {
            converted.tensors.push(planned);
            continue;
        };
        let shape = &tensor.shape[..];
        if let (Some(leaf), [rows, ..]) = (rest.strip_prefix(POOL), shape) {
            for (module, start, end) in [("q", 0, rows / 3), ("kv", rows / 3, *rows)] {
                let mut part = PlannedTensor::same(tensor);
                part.target.name = format!("visual.trunk.attn_pool.{module}.{leaf}");
                part.then(Step::Slice { axis: 0, start, end })?;
                converted.tensors.push(part);
            }
            continue;
        }
        match (rest, shape) {
            ("class_embedding", &[width]) => planned.then(Step::Reshape { shape: vec![1, 1, width] })?,
            ("positional_embedding", &[rows, width]) => {
                planned.then(Step::Reshape { shape: vec![1, rows, width] })?;
            }
            ("proj", &[_, outputs]) => {
                // timm's classifier has a bias; the projection has none.
                planned.then(transpose())?;
                planned.target.name = "visual.trunk.head.weight".to_owned();
                let bias = "visual.trunk.head.bias".to_owned();
                converted.tensors.push(planned);
                converted.tensors.push(PlannedTensor::filled(bias, 0, tensor.dtype, &[outputs])?);
                continue;
            }
            _ => {}
        }
        planned.target.name = name(rest);
        converted.tensors.push(planned);
    }
    Ok(converted)
}

/// open_clip's name of a tensor of the image tower.
fn name(rest: &str) -> String {
    let begin =
        MODULES.iter().find_map(|(theirs, ours)| Some(format!("{ours}{}", rest.strip_prefix(theirs)?)));
    let mut name = format!("visual.trunk.{}", begin.unwrap_or_else(|| rest.to_owned()));
    for (theirs, ours) in PARTS {
        name = name.replace(theirs, ours);
    }
    name
}
