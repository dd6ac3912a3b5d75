//! A layout: how it is recognized, and how its tensors get open_clip's names.

use clipway_formats::{FormatError, TensorInfo};

use super::error::LayoutError;
use super::families;
use super::known::KnownConfig;
use crate::checkpoint::Checkpoint;
use crate::differences::Differences;
use crate::plan::{Converted, StepError};
use crate::state_dict::StateDict;

/// Names and shapes that a project gives to a model's tensors.
#[derive(Debug)]
pub struct Layout {
    /// Short name, for JSON and the artifact.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// Whether names and shapes match this layout.
    pub(super) recognizes: fn(&StateDict) -> bool,
    /// Converts the tensors to open_clip's names.
    pub(super) conversion: Conversion,
    /// The config, if the layout implies it or stores it in its own file.
    pub(super) known_config: Option<FindConfig>,
    /// Compares numbers stored among the tensors with the shapes.
    pub(super) check_numbers: Option<CheckNumbers>,
}

/// How a layout's tensors are converted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Conversion {
    /// By steps.
    Steps(fn(&StateDict) -> Result<Converted, StepError>),
    /// Not at all, with the reason.
    Refused(&'static str),
}

/// Finds the config for a checkpoint's state dict, given its converted tensors.
pub(super) type FindConfig =
    fn(&Checkpoint, &StateDict, &[TensorInfo]) -> Result<Option<KnownConfig>, LayoutError>;

/// Adds contradictions between numbers among the tensors and the shapes.
pub(super) type CheckNumbers = fn(&StateDict, &mut Differences) -> Result<(), FormatError>;

impl Layout {
    /// Gives the tensors open_clip's names.
    ///
    /// # Errors
    /// A layout that is not supported, tensors of another layout among them, or a tensor with the wrong shape for the
    /// layout.
    pub(crate) fn convert(&self, state_dict: &StateDict) -> Result<Converted, LayoutError> {
        let convert = match self.conversion {
            Conversion::Steps(convert) => convert,
            Conversion::Refused(why) => return Err(LayoutError::Refused { title: self.title, why }),
        };
        let families = families::families(state_dict.tensors());
        match families.len() {
            0 | 1 => Ok(convert(state_dict)?),
            _ => Err(LayoutError::Mixed(families)),
        }
    }

    /// The config that the layout states: implied together with the shapes of the `converted` tensors, or read from its
    /// own files beside the weights. `None` if it states none.
    ///
    /// # Errors
    /// Files that are missing, malformed, impossible to express, or in contradiction to the weights.
    pub(crate) fn known_config(
        &self,
        checkpoint: &Checkpoint,
        state_dict: &StateDict,
        converted: &[TensorInfo],
    ) -> Result<Option<KnownConfig>, LayoutError> {
        self.known_config.map_or(Ok(None), |find| find(checkpoint, state_dict, converted))
    }

    /// Contradictions between numbers that the layout stores among its tensors and the shapes. Only these numbers are
    /// read.
    /// # Errors
    /// A number that cannot be read.
    pub(crate) fn check_numbers(&self, state_dict: &StateDict) -> Result<Differences, FormatError> {
        let mut differences = Differences::default();
        self.check_numbers.map_or(Ok(()), |check| check(state_dict, &mut differences))?;
        Ok(differences)
    }
}

/// Whether any tensor's name starts with this.
pub(super) fn has_prefix(state_dict: &StateDict, prefix: &str) -> bool {
    state_dict.tensors().iter().any(|tensor| tensor.name.starts_with(prefix))
}
