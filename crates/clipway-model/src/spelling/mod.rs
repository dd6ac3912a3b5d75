//! What an export can be written as: whose names, which files.
//!
//! A target is one file here and one line in [`TARGETS`].

mod open_clip;
mod openai;
mod transformers;
mod transformers_clip;
mod transformers_siglip;
mod transformers_preprocess;

use crate::config::ConfigFile;
use crate::export::WeightsFormat;
use crate::plan::{Plan, PlannedTensor, StepError};
use crate::problems::{Problems, lines};

/// Something that an export can be written as.
#[derive(Debug)]
pub struct Target {
    /// Name on the command line and in JSON.
    pub name: &'static str,
    /// What it is, for people.
    pub about: &'static str,
    /// Whose names and files it has. Targets of one spelling can be written together.
    pub spelling: &'static Spelling,
    /// Format of the weights.
    pub format: WeightsFormat,
}

/// Every target, the default first.
pub static TARGETS: [Target; 4] = [
    Target {
        name: "open_clip",
        about: "open_clip's folder with safetensors",
        spelling: &open_clip::SPELLING,
        format: WeightsFormat::Safetensors,
    },
    Target {
        name: "pytorch",
        about: "open_clip's folder with a PyTorch file (.bin)",
        spelling: &open_clip::SPELLING,
        format: WeightsFormat::Pytorch,
    },
    Target {
        name: "transformers",
        about: "A folder for transformers' CLIPModel or SiglipModel",
        spelling: &transformers::SPELLING,
        format: WeightsFormat::Safetensors,
    },
    Target {
        name: "openai",
        about: "A state dict with the names of OpenAI's code (.pt)",
        spelling: &openai::SPELLING,
        format: WeightsFormat::Pytorch,
    },
];

impl Target {
    /// The target of a name.
    pub fn named(name: &str) -> Option<&'static Target> {
        TARGETS.iter().find(|target| target.name == name)
    }
}

/// Names of tensors, and the files beside them, in one project.
#[derive(Debug)]
pub struct Spelling {
    /// Name of the layout in the artifact.
    pub layout: &'static str,
    /// For people.
    pub title: &'static str,
    /// Name of the file of weights in a format, before and after the number of a shard.
    pub(crate) weights_name: fn(WeightsFormat) -> [&'static str; 2],
    /// Gives a model the names, or says everything that they cannot express.
    spell: fn(&ConfigFile, &[PlannedTensor]) -> Result<Spelled, SpellError>,
    /// Whether open_clip loads the folder.
    pub(crate) is_open_clip: bool,
    /// The library that loads it, as model cards name it.
    pub(crate) library: &'static str,
    /// Python that loads it, for the model card.
    pub(crate) usage: &'static str,
}

impl Default for &'static Spelling {
    fn default() -> &'static Spelling {
        TARGETS[0].spelling
    }
}

/// A model under a target's names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Spelled {
    /// The tensors.
    pub(crate) tensors: Vec<PlannedTensor>,
    /// Files that are written beside them.
    pub(crate) files: Vec<(&'static str, String)>,
    /// What a user must know.
    pub(crate) notes: Vec<String>,
}

/// Why a target cannot hold a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpellError {
    /// Everything that it cannot express.
    #[error("{title} cannot express it:{}", lines(problems))]
    Inexpressible {
        /// The target.
        title: &'static str,
        /// What it cannot express, each with the key of the config.
        problems: Vec<String>,
    },
    /// A tensor has another shape than the target's rules know.
    #[error(transparent)]
    Step(#[from] StepError),
}

impl SpellError {
    /// Stable name of the cause.
    pub fn code(&self) -> &'static str {
        match self {
            SpellError::Inexpressible { .. } => "inexpressible",
            SpellError::Step(_) => "shape-mismatch",
        }
    }
}

impl Spelling {
    /// Gives the tensors of a plan under open_clip's names those of the target.
    ///
    /// # Errors
    /// Everything that the target cannot express.
    pub(crate) fn spell(&self, config: &ConfigFile, plan: &Plan) -> Result<(Plan, Spelled), SpellError> {
        let mut spelled = (self.spell)(config, &plan.tensors)?;
        let tensors = std::mem::take(&mut spelled.tensors);
        let plan = Plan { layout: plan.layout.clone(), tensors, dropped: plan.dropped.clone() };
        plan.check()?;
        Ok((plan, spelled))
    }
}

impl Problems {
    /// Adds what a target cannot express, unless the condition holds.
    fn unless(&mut self, holds: bool, key: &str, cause: impl std::fmt::Display) {
        if !holds {
            self.push(format!("`{key}`: {cause}"));
        }
    }

    /// Everything that was added, as an error.
    fn none_for(self, title: &'static str) -> Result<(), SpellError> {
        self.none_or(|problems| SpellError::Inexpressible { title, problems })
    }
}
