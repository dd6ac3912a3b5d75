//! A spelling: a project's tensor names, and the files beside them.

use serde::{Deserialize, Serialize};

use super::onnx::Profile;
use crate::config::{ConfigFile, PixelRule};
use crate::plan::{DroppedTensor, Plan, PlannedTensor, Precision, StepError, Towers, is_shared};
use crate::problems::{Problems, lines};

/// A weight format to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightsFormat {
    /// safetensors.
    Safetensors,
    /// PyTorch's own format.
    Pytorch,
    /// Graphs of ONNX with their weights.
    Onnx,
}

impl WeightsFormat {
    /// Name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            WeightsFormat::Safetensors => "safetensors",
            WeightsFormat::Pytorch => "pytorch",
            WeightsFormat::Onnx => "onnx",
        }
    }
}

/// Layout of clipway's own folder.
pub(crate) const OWN: &str = "clipway";

/// One project's tensor names, and the files beside them.
#[derive(Debug)]
pub struct Spelling {
    /// Name of the layout in the artifact.
    pub layout: &'static str,
    /// For people.
    pub title: &'static str,
    /// What the weights are stored as.
    pub weights: StoredWeights,
    /// Gives a model these names and files, or reports everything that cannot be expressed.
    pub(super) spell: fn(&Subject<'_>) -> Result<Spelled, SpellError>,
    /// Whether its names and config are open_clip's.
    pub(crate) is_open_clip: bool,
    /// The library that loads it, as model cards name it.
    pub(crate) library: &'static str,
    /// Python code that loads it, for the model card; empty for graphs, whose files have names of their own.
    pub(crate) usage: &'static str,
}

/// What the weights of a folder are stored as.
#[derive(Debug)]
pub enum StoredWeights {
    /// A state dict: for each format the name of its file, before and after the number of a shard.
    StateDict(&'static [(WeightsFormat, [&'static str; 2])]),
    /// Graphs that hold their weights, in a program's folder.
    Graphs(&'static Profile),
}

/// What a target sees of a model. No weight has been read.
pub(crate) struct Subject<'a> {
    /// The config.
    pub(crate) config: &'a ConfigFile,
    /// The tensors under open_clip's names.
    pub(crate) tensors: &'a [PlannedTensor],
    /// The towers that are written.
    pub(crate) towers: Towers,
    /// What the weights are rounded to.
    pub(crate) precision: Option<Precision>,
}

impl Subject<'_> {
    /// The tensors, and those left out of a tower alone: the numbers that compare the features of both towers.
    pub(super) fn of_towers(&self) -> (Vec<PlannedTensor>, Vec<DroppedTensor>) {
        let is_left_out =
            |planned: &&PlannedTensor| self.towers != Towers::Both && is_shared(&planned.target.name);
        let (left_out, kept): (Vec<&PlannedTensor>, Vec<&PlannedTensor>) =
            self.tensors.iter().partition(is_left_out);
        let rule = "a tower alone has no scale or bias of logits";
        let sources = left_out.into_iter().flat_map(|planned| planned.sources.clone());
        let dropped = sources.map(|tensor| DroppedTensor { tensor, rule }).collect();
        (kept.into_iter().cloned().collect(), dropped)
    }

    /// Refuses a tower alone, for a target that always has both.
    pub(super) fn both_towers(&self, title: &'static str) -> Result<(), SpellError> {
        if self.towers == Towers::Both {
            return Ok(());
        }
        let problems = vec![format!("only the {} tower: this target needs both", self.towers.name())];
        Err(SpellError::Inexpressible { title, problems })
    }
}

/// A model under a target's names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Spelled {
    /// The tensors.
    pub(crate) tensors: Vec<PlannedTensor>,
    /// Tensors that the target has no place for and does not need.
    pub(crate) dropped: Vec<DroppedTensor>,
    /// Files that are written beside them.
    pub(crate) files: Vec<(&'static str, Vec<u8>)>,
    /// By whose rule the folder's library brings images to pixels.
    pub(crate) rule: PixelRule,
    /// What a user should know.
    pub(crate) notes: Vec<String>,
}

/// Why a target cannot represent a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpellError {
    /// Everything that it cannot express.
    #[error("{title} cannot express this model:{}", lines(problems))]
    Inexpressible {
        /// The target.
        title: &'static str,
        /// What it cannot express, each with the config key.
        problems: Vec<String>,
    },
    /// A tensor has another shape than the target's rules expect.
    #[error(transparent)]
    Step(#[from] StepError),
}

impl SpellError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            SpellError::Inexpressible { .. } => "inexpressible",
            SpellError::Step(_) => "shape-mismatch",
        }
    }
}

impl Spelling {
    /// Whether tensors may be in int8 and int4.
    pub fn holds_integers(&self) -> bool {
        self.layout == OWN
    }

    /// Whether it is a folder of graphs, which have int8 of their own.
    pub fn has_graphs(&self) -> bool {
        matches!(self.weights, StoredWeights::Graphs(_))
    }

    /// Whether its folders can say that images keep their proportions.
    pub fn keeps_proportions(&self) -> bool {
        self.layout == OWN
    }

    /// Renames the tensors of a plan from open_clip's names to the target's.
    ///
    /// # Errors
    /// Everything that the target cannot express.
    pub(crate) fn spell(&self, subject: &Subject<'_>, plan: &Plan) -> Result<(Plan, Spelled), SpellError> {
        if subject.towers != Towers::Text
            && !self.keeps_proportions()
            && let Some(grids) = subject.config.preprocess().rule.grids()
        {
            let most = grids.most;
            let cause = format!(
                "images keep their proportions, in at most {most} patches: only clipway's own folder says so"
            );
            return Err(SpellError::Inexpressible { title: self.title, problems: vec![cause] });
        }
        let mut spelled = (self.spell)(subject)?;
        let tensors = std::mem::take(&mut spelled.tensors);
        let dropped = plan.dropped.iter().chain(&spelled.dropped).cloned().collect();
        let plan = Plan { layout: plan.layout.clone(), tensors, dropped };
        plan.check()?;
        Ok((plan, spelled))
    }
}

impl Problems {
    /// Adds something that a target cannot express, unless the condition holds.
    pub(super) fn unless(&mut self, holds: bool, key: &str, cause: impl std::fmt::Display) {
        if !holds {
            self.push(format!("`{key}`: {cause}"));
        }
    }

    /// All added problems, as an error.
    pub(super) fn none_for(self, title: &'static str) -> Result<(), SpellError> {
        self.none_or(|problems| SpellError::Inexpressible { title, problems })
    }
}
