//! Long-CLIP (<https://arxiv.org/abs/2403.15378>) in the names of its own code: OpenAI's, with two tables of text
//! positions, of which the first rows of one and the last rows of the other are used.

use clipway_formats::TensorInfo;

use super::{Conversion, KnownConfig, Layout, LayoutError, openai};
use crate::checkpoint::Checkpoint;
use crate::config::{ConfigFile, PreprocessOptions};
use crate::contract::Origins;
use crate::identify::reconstruct_openai;
use crate::plan::{Converted, DroppedTensor, Step, StepError};
use crate::state_dict::StateDict;

/// The layout.
pub(super) static LAYOUT: Layout = Layout {
    name: "long_clip",
    title: "Long-CLIP with the names of its own code",
    recognizes: |tensors| {
        [TABLE, STRETCHED, "visual.class_embedding"].iter().all(|name| tensors.find(name).is_some())
    },
    conversion: Conversion::Steps(convert),
    known_config: Some(known_config),
    check_numbers: None,
};

/// Positions of OpenAI's model, of which the first are kept.
const TABLE: &str = "positional_embedding";

/// Positions stretched to the new length, of which the others are used.
const STRETCHED: &str = "positional_embedding_res";

/// Number of positions kept as they were.
const KEPT: usize = 20;

/// Masks that select rows of the two tables.
const MASKS: [&str; 2] = ["mask1", "mask2"];

fn convert(state_dict: &StateDict) -> Result<Converted, StepError> {
    let mut converted = openai::convert(state_dict)?;
    let stretched = converted.tensors.iter().position(|planned| planned.target.name == STRETCHED);
    let stretched = stretched.map(|place| converted.tensors.remove(place));
    for planned in &mut converted.tensors {
        if let (TABLE, Some(stretched)) = (planned.target.name.as_str(), &stretched) {
            planned.sources.extend(stretched.sources.iter().cloned());
            let end = stretched.target.shape.first().copied().unwrap_or(0);
            planned.then(Step::JoinRows { parts: vec![[0, KEPT], [KEPT, end]] })?;
        }
    }
    let is_mask = |name: &str| MASKS.contains(&name);
    let masks: Vec<TensorInfo> =
        state_dict.tensors().iter().filter(|tensor| is_mask(&tensor.name)).cloned().collect();
    converted.tensors.retain(|planned| !is_mask(&planned.target.name));
    let rule = "masks of positions, which are fixed";
    converted.dropped.extend(masks.into_iter().map(|tensor| DroppedTensor { tensor, rule }));
    Ok(converted)
}

/// The config according to shapes and OpenAI's code.
fn known_config(
    _: &Checkpoint,
    _: &StateDict,
    tensors: &[TensorInfo],
) -> Result<Option<KnownConfig>, LayoutError> {
    let shapes = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice()));
    Ok(reconstruct_openai(shapes).map(|model| KnownConfig {
        config: ConfigFile { model, preprocess: PreprocessOptions::default() },
        name: None,
        from: "the shapes, with the activation and heads of OpenAI's code, which Long-CLIP extends"
            .to_owned(),
        origins: Origins::default(),
        activation_from: "Long-CLIP's code uses only QuickGELU".to_owned(),
        disagreements: Vec::new(),
        text_model_file: None,
        notes: Vec::new(),
    }))
}
