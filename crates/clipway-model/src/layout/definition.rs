//! What a layout is: how it is recognized, and how its tensors get open_clip's names.

use clipway_formats::{FormatError, TensorInfo};

use super::error::LayoutError;
use super::families;
use super::known::KnownConfig;
use crate::checkpoint::Checkpoint;
use crate::differences::Differences;
use crate::plan::{Converted, StepError};
use crate::state_dict::StateDict;

/// Names and shapes that a project gives to the tensors of a model.
#[derive(Debug)]
pub struct Layout {
    /// Short name, for JSON and the artifact.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// Whether names and shapes match this layout.
    pub(super) recognizes: fn(&StateDict) -> bool,
    /// The same tensors under open_clip's names.
    pub(super) conversion: Conversion,
    /// The config, where the layout makes it certain or keeps it in a file of its own.
    pub(super) known_config: Option<FindConfig>,
    /// Compares numbers that the layout keeps among its tensors with the shapes.
    pub(super) check_numbers: Option<CheckNumbers>,
}

/// How the tensors of a layout are converted.
#[derive(Debug)]
pub(super) enum Conversion {
    /// By steps.
    Steps(fn(&StateDict) -> Result<Converted, StepError>),
    /// Not at all, and why.
    Refused(&'static str),
}

/// Finds the config of a checkpoint's state dict, whose converted tensors are those.
pub(super) type FindConfig =
    fn(&Checkpoint, &StateDict, &[TensorInfo]) -> Result<Option<KnownConfig>, LayoutError>;

/// Adds what numbers among the tensors say against the shapes.
pub(super) type CheckNumbers = fn(&StateDict, &mut Differences) -> Result<(), FormatError>;

impl Layout {
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

    /// The config that the layout gives: what it makes certain together with the shapes of the `converted`
    /// tensors, or what its own files beside the weights say. `None` if it gives none.
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
pub(super) fn has_prefix(state_dict: &StateDict, prefix: &str) -> bool {
    state_dict.tensors().iter().any(|tensor| tensor.name.starts_with(prefix))
}
