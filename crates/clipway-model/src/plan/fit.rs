//! Matches tensors under open_clip's names to the parameters of a config.

use std::collections::HashMap;

use super::text_tower::{TextTower, text_tower_name};
use super::{PlannedTensor, Step, StepError};
use crate::config::ModelConfig;
use crate::graph::{GridChange, GridFilter, Parameter};

/// The image tower's position embedding: a class token and a grid.
const IMAGE_POSITIONS: &str = "visual.positional_embedding";

/// Number of tokens before the grid in [`IMAGE_POSITIONS`].
const PREFIX_TOKENS: usize = 1;

/// The text tower's position embedding, in both spellings.
const TEXT_POSITIONS: [&str; 2] = ["positional_embedding", "text.positional_embedding"];

/// Tensors with a single number, stored as a scalar in some models and with one dimension in others.
const SINGLE_NUMBERS: [&str; 2] = ["logit_scale", "logit_bias"];

/// Requested size changes.
pub(super) struct Sizes<'a> {
    /// The config before the changes.
    pub(super) base: &'a ModelConfig,
    /// The config after them.
    pub(super) target: &'a ModelConfig,
}

/// Gives the text tower's tensors the names of the config's model.
pub(super) fn spell_text_tower(tensors: &mut [PlannedTensor], config: &ModelConfig) {
    let wanted = if config.uses_custom_text() { TextTower::Module } else { TextTower::Root };
    for planned in tensors {
        if let Some(name) = text_tower_name(&planned.target.name, wanted) {
            planned.target.name = name;
        }
    }
}

/// Adds the steps that turn a tensor into a parameter; `Ok(false)` if there are none.
pub(super) fn fit(
    planned: &mut PlannedTensor,
    parameter: &Parameter,
    sizes: &Sizes<'_>,
) -> Result<bool, StepError> {
    let found = &planned.target;
    if found.shape == parameter.shape {
        return Ok(true);
    }
    let name = parameter.name.as_str();
    if SINGLE_NUMBERS.contains(&name) && found.elements() == 1 && parameter.elements() == 1 {
        planned.then(Step::Reshape { shape: parameter.shape.clone() })?;
    } else if is_patch_embedding(name) && found.shape.len() == 2 && parameter.shape.len() == 4 {
        // A linear map of patches, channel by channel.
        if found.shape[0] == parameter.shape[0] && found.elements() == parameter.elements() {
            planned.then(Step::Reshape { shape: parameter.shape.clone() })?;
        }
    } else if name == IMAGE_POSITIONS {
        if let Some((from, to)) = grids(&found.shape, sizes) {
            planned.then(Step::ResampleGrid(GridChange {
                prefix: PREFIX_TOKENS,
                from,
                to,
                filter: GridFilter::Bicubic,
                square: false,
            }))?;
        }
    } else if TEXT_POSITIONS.contains(&name)
        && sizes.base.text.context_length != sizes.target.text.context_length
        && let (&[from, _], &[to, _]) = (&found.shape[..], &parameter.shape[..])
    {
        planned.then(Step::ResampleRows { from, to })?;
    }
    Ok(planned.target.shape == parameter.shape)
}

/// Whether a tensor embeds patches.
pub(crate) fn is_patch_embedding(name: &str) -> bool {
    matches!(name, "visual.conv1.weight" | "visual.trunk.patch_embed.proj.weight")
}

/// The grid of a position embedding and that of the config, if another image size was requested. The first is the
/// config's grid before the change, or a square with as many cells, as in open_clip.
fn grids(shape: &[usize], sizes: &Sizes<'_>) -> Option<([usize; 2], [usize; 2])> {
    if sizes.base.vision.image_size == sizes.target.vision.image_size {
        return None;
    }
    let cells = shape.first()?.checked_sub(PREFIX_TOKENS)?;
    let patch = sizes.target.vision.patch_size?;
    let grid = |size: [usize; 2]| [size[0] / patch[0].max(1), size[1] / patch[1].max(1)];
    let base = grid(sizes.base.vision.image_size);
    let side = cells.isqrt();
    let from = if base[0] * base[1] == cells { base } else { [side, side] };
    (cells > 0 && from[0] * from[1] == cells).then(|| (from, grid(sizes.target.vision.image_size)))
}

/// Index of each target name; the first of duplicates.
pub(super) fn by_name(tensors: &[PlannedTensor]) -> HashMap<String, usize> {
    let mut places = HashMap::with_capacity(tensors.len());
    for (index, planned) in tensors.iter().enumerate() {
        places.entry(planned.target.name.clone()).or_insert(index);
    }
    places
}
