//! Hugging Face transformers' `CLIPModel`: a folder of weights, `config.json` and `preprocessor_config.json`.

use clipway_formats::TensorInfo;

use super::{Conversion, Converted, Layout, has_prefix, hf_config};
use crate::plan::{DroppedTensor, PlannedTensor, Step, StepError};
use crate::state_dict::StateDict;

/// The layout.
pub(super) static LAYOUT: Layout = Layout {
    name: "transformers_clip",
    title: "Hugging Face transformers CLIPModel",
    recognises,
    conversion: Conversion::Steps(convert),
    known_config: Some(hf_config::known_config),
};

/// Name of the rule by which counted positions are dropped.
const POSITION_IDS_RULE: &str = "position ids are counted, not stored";

/// Names of tensors outside of blocks, and open_clip's; the projections are transposed.
const NAMES: [(&str, &str); 9] = [
    ("vision_model.embeddings.class_embedding", "visual.class_embedding"),
    ("vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight"),
    ("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
    ("visual_projection.weight", "visual.proj"),
    ("text_model.embeddings.token_embedding.weight", "token_embedding.weight"),
    ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
    ("text_projection.weight", "text_projection"),
    ("logit_scale", "logit_scale"),
    ("logit_bias", "logit_bias"),
];

/// Layer norms outside of blocks, and open_clip's.
const NORMS: [(&str, &str); 3] = [
    ("vision_model.pre_layrnorm.", "visual.ln_pre."),
    ("vision_model.post_layernorm.", "visual.ln_post."),
    ("text_model.final_layer_norm.", "ln_final."),
];

/// Prefixes of blocks, and open_clip's.
const BLOCKS: [(&str, &str); 2] = [
    ("vision_model.encoder.layers.", "visual.transformer.resblocks."),
    ("text_model.encoder.layers.", "transformer.resblocks."),
];

/// Modules of a block, and open_clip's.
const MODULES: [(&str, &str); 5] = [
    ("layer_norm1.", "ln_1."),
    ("layer_norm2.", "ln_2."),
    ("mlp.fc1.", "mlp.c_fc."),
    ("mlp.fc2.", "mlp.c_proj."),
    ("self_attn.out_proj.", "attn.out_proj."),
];

/// Projections that open_clip holds as one, in its order.
const PROJECTIONS: [&str; 3] = ["self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj."];

fn recognises(state_dict: &StateDict) -> bool {
    let text = [
        "text_model.encoder.layers.",
        "text_model.final_layer_norm.",
        "text_model.embeddings.token_embedding.",
    ];
    has_prefix(state_dict, "vision_model.") && text.into_iter().any(|prefix| has_prefix(state_dict, prefix))
}

fn convert(state_dict: &StateDict) -> Result<Converted, StepError> {
    let mut converted = Converted::default();
    for tensor in state_dict.tensors() {
        if tensor.name.ends_with("embeddings.position_ids") {
            converted.dropped.push(DroppedTensor { tensor: tensor.clone(), rule: POSITION_IDS_RULE });
        } else if let Some(planned) = joined(tensor, state_dict)? {
            converted.tensors.extend(planned);
        } else {
            // A name that is not known stays, and is reported as unused.
            let mut planned = PlannedTensor::same(tensor);
            if let Some(name) = open_clip_name(&tensor.name) {
                planned.target.name = name;
            }
            if tensor.name.ends_with("_projection.weight") && tensor.shape.len() == 2 {
                planned.then(Step::Transpose { axes: vec![1, 0] })?;
            }
            converted.tensors.push(planned);
        }
    }
    Ok(converted)
}

/// open_clip's name of a tensor that is not split; `None` if the name is not known.
fn open_clip_name(name: &str) -> Option<String> {
    if let Some((_, ours)) = NAMES.into_iter().find(|(theirs, _)| *theirs == name) {
        return Some(ours.to_owned());
    }
    let renamed =
        |(theirs, ours): (&str, &str), name: &str| Some(format!("{ours}{}", name.strip_prefix(theirs)?));
    if let Some(renamed) = NORMS.into_iter().find_map(|pair| renamed(pair, name)) {
        return Some(renamed);
    }
    let (prefix, leaf) = block_part(name)?;
    MODULES.into_iter().find_map(|pair| renamed(pair, leaf)).map(|leaf| prefix + &leaf)
}

/// open_clip's prefix of the block that a tensor is in, and the rest of the tensor's name.
fn block_part(name: &str) -> Option<(String, &str)> {
    BLOCKS.into_iter().find_map(|(theirs, ours)| {
        let (number, leaf) = name.strip_prefix(theirs)?.split_once('.')?;
        Some((format!("{ours}{number}."), leaf))
    })
}

/// Queries, keys and values of a block as one tensor, at the place of the first of them in the file. `None` for
/// any other tensor; nothing for the other two, and what is there for an incomplete or unlike three.
fn joined(tensor: &TensorInfo, state_dict: &StateDict) -> Result<Option<Vec<PlannedTensor>>, StepError> {
    let Some((prefix, leaf)) = block_part(&tensor.name) else { return Ok(None) };
    let Some((kind, module)) = PROJECTIONS
        .into_iter()
        .find_map(|module| leaf.strip_prefix(module).map(|kind| (kind, module)))
        .filter(|(kind, _)| matches!(*kind, "weight" | "bias"))
    else {
        return Ok(None);
    };
    let stem = &tensor.name[..tensor.name.len() - module.len() - kind.len()];
    let names = PROJECTIONS.map(|module| format!("{stem}{module}{kind}"));
    let sources: Vec<TensorInfo> = names.iter().filter_map(|name| state_dict.get(name).cloned()).collect();
    let alike = sources.iter().all(|one| one.shape == tensor.shape && one.dtype == tensor.dtype);
    if sources.len() != PROJECTIONS.len() || !alike || tensor.shape.is_empty() {
        return Ok(None);
    }
    let first = names.iter().filter_map(|name| state_dict.find(name)).min();
    if first != state_dict.find(&tensor.name) {
        return Ok(Some(Vec::new()));
    }
    let target = TensorInfo { name: format!("{prefix}attn.in_proj_{kind}"), ..tensor.clone() };
    let mut planned = PlannedTensor { target, sources, steps: Vec::new() };
    planned.then(Step::Concatenate { axis: 0 })?;
    Ok(Some(vec![planned]))
}
