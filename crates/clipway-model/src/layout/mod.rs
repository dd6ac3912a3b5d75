//! Whose names and shapes a state dict has, and how its tensors are called in open_clip.
//!
//! A layout is one file here and one line in [`LAYOUTS`].

mod error;
mod families;
mod names;
pub(crate) mod hf_clip;
mod hf_clip_config;
pub(crate) mod hf_siglip;
mod hf_siglip_config;
mod siglip_config;
mod hf_config;
mod hf_preprocessor;
mod big_vision;
mod mobileclip;
mod open_clip;
mod open_clip_custom_text;
mod openai;
mod refused;
mod text_tower;

pub use error::{Contradictions, LayoutError, LayoutPart};
pub(crate) use text_tower::{TextTower, text_tower_name};

use clipway_formats::{FormatError, TensorInfo};

use crate::checkpoint::Checkpoint;
use crate::config::ConfigFile;
use crate::identify::Differences;
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
    conversion: Conversion,
    /// The config, where the layout makes it certain or keeps it in a file of its own.
    known_config: Option<FindConfig>,
    /// Compares numbers that the layout keeps among its tensors with the shapes.
    check_numbers: Option<CheckNumbers>,
}

/// How the tensors of a layout are converted.
#[derive(Debug)]
enum Conversion {
    /// By steps.
    Steps(fn(&StateDict) -> Result<Converted, StepError>),
    /// Not at all, and why.
    Refused(&'static str),
}

/// Finds the config of a checkpoint's state dict, whose converted tensors are those.
type FindConfig = fn(&Checkpoint, &StateDict, &[TensorInfo]) -> Result<Option<KnownConfig>, LayoutError>;

/// Adds what numbers among the tensors say against the shapes.
type CheckNumbers = fn(&StateDict, &mut Differences) -> Result<(), FormatError>;

/// Every layout, the more particular first.
pub static LAYOUTS: [&Layout; 19] = [
    &refused::SIGLIP2_NAFLEX,
    &refused::X_CLIP,
    &refused::CLIP_SEG,
    &refused::OWL_VIT,
    &refused::ALT_CLIP,
    &refused::BLIP,
    &refused::ALIGN,
    &refused::GROUP_VIT,
    &refused::CHINESE_CLIP,
    &refused::OTHER_MODALITIES,
    &hf_siglip::LAYOUT,
    &hf_clip::LAYOUT,
    &refused::OTHER_TRANSFORMERS,
    &big_vision::LAYOUT,
    &mobileclip::LAYOUT,
    &refused::EVA_CLIP,
    &openai::LAYOUT,
    &open_clip_custom_text::LAYOUT,
    &open_clip::LAYOUT,
];

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

/// A config that a layout tells.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownConfig {
    /// The config.
    pub config: ConfigFile,
    /// Its registered name, where it has one.
    pub name: Option<String>,
    /// Where it is known from.
    pub from: String,
    /// Where the activation is known from.
    pub activation_from: String,
    /// What a user must know.
    pub notes: Vec<String>,
}

impl Layout {
    /// The layout of a state dict, by its names and shapes; `None` if it is none that is known.
    pub fn recognise(state_dict: &StateDict) -> Option<&'static Layout> {
        LAYOUTS.into_iter().find(|layout| (layout.recognises)(state_dict))
    }

    /// Gives the tensors open_clip's names.
    ///
    /// # Errors
    /// A layout that is not supported, tensors of another layout among them, or a tensor whose shape is not what
    /// the layout says.
    pub fn convert(&self, state_dict: &StateDict) -> Result<Converted, LayoutError> {
        let families = families::families(state_dict.tensors());
        if families.len() > 1 {
            return Err(LayoutError::Mixed(families));
        }
        match self.conversion {
            Conversion::Steps(convert) => Ok(convert(state_dict)?),
            Conversion::Refused(why) => Err(LayoutError::Refused { title: self.title, why }),
        }
    }

    /// The config that the layout tells: what it makes certain together with the shapes of the `converted`
    /// tensors, or what its own files beside the weights say. `None` where it tells none.
    ///
    /// # Errors
    /// Files that are missing, malformed, cannot be expressed or contradict the weights.
    pub fn known_config(
        &self,
        checkpoint: &Checkpoint,
        state_dict: &StateDict,
        converted: &[TensorInfo],
    ) -> Result<Option<KnownConfig>, LayoutError> {
        self.known_config.map_or(Ok(None), |find| find(checkpoint, state_dict, converted))
    }

    /// What numbers that the layout keeps among its tensors say against the shapes. They are all that is read.
    ///
    /// # Errors
    /// A number that cannot be read.
    pub fn check_numbers(&self, state_dict: &StateDict) -> Result<Differences, FormatError> {
        let mut differences = Differences::default();
        self.check_numbers.map_or(Ok(()), |check| check(state_dict, &mut differences))?;
        Ok(differences)
    }
}

/// Whether any tensor's name begins so.
fn has_prefix(state_dict: &StateDict, prefix: &str) -> bool {
    state_dict.tensors().iter().any(|tensor| tensor.name.starts_with(prefix))
}
