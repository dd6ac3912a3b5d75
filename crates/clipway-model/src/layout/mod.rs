//! Whose names and shapes a state dict has, and how its tensors are called in open_clip.
//!
//! A layout is one file here and one line in [`LAYOUTS`].

mod open_clip;
mod open_clip_custom_text;
mod text_tower;

pub(crate) use text_tower::{TextTower, text_tower_name};

use clipway_formats::TensorInfo;

use crate::plan::{DroppedTensor, PlannedTensor, StepError};
use crate::state_dict::StateDict;

/// Names and shapes that a project gives to the tensors of a model.
#[derive(Debug)]
pub struct Layout {
    /// Short name, for JSON and the artifact.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// Whether names and shapes are those of this layout.
    recognises: fn(&StateDict) -> bool,
    /// The same tensors under open_clip's names.
    convert: fn(&StateDict) -> Result<Converted, StepError>,
}

/// Every layout, the more particular first.
pub static LAYOUTS: [&Layout; 2] = [&open_clip_custom_text::LAYOUT, &open_clip::LAYOUT];

/// The tensors of a state dict under open_clip's names: not yet fitted to a config.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Converted {
    /// The tensors, as they are or changed by steps; dtypes are those of the source.
    pub tensors: Vec<PlannedTensor>,
    /// Tensors that no open_clip model has.
    pub dropped: Vec<DroppedTensor>,
}

impl Converted {
    /// Names, dtypes and shapes after the conversion.
    pub fn infos(&self) -> Vec<TensorInfo> {
        self.tensors.iter().map(|planned| planned.target.clone()).collect()
    }
}

impl Layout {
    /// The layout of a state dict, by its names and shapes; `None` if it is none that is known.
    pub fn recognise(state_dict: &StateDict) -> Option<&'static Layout> {
        LAYOUTS.into_iter().find(|layout| (layout.recognises)(state_dict))
    }

    /// Gives the tensors open_clip's names.
    ///
    /// # Errors
    /// A tensor whose shape is not what the layout says.
    pub fn convert(&self, state_dict: &StateDict) -> Result<Converted, StepError> {
        (self.convert)(state_dict)
    }
}

/// Whether any tensor's name begins so.
fn has_prefix(state_dict: &StateDict, prefix: &str) -> bool {
    state_dict.tensors().iter().any(|tensor| tensor.name.starts_with(prefix))
}
