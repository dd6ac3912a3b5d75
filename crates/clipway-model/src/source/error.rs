//! Why a source cannot be resolved.

use std::path::PathBuf;

use clipway_formats::{FormatError, shown, shown_path};

use super::config::{Candidates, Mismatch};
use super::vocabulary::VocabularyError;
use crate::architecture::ArchitectureError;
use crate::checkpoint::CheckpointError;
use crate::config::text_model::TextModelError;
use crate::differences::Differences;
use crate::layout::LayoutError;
use crate::plan::{Imbalance, PlanError, Towers};
use crate::problems::lines;
use crate::registry::UnknownModel;
use crate::state_dict::SelectError;

/// A source cannot be resolved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A file cannot be opened.
    #[error(transparent)]
    Open(#[from] CheckpointError),
    /// One of several files of a checkpoint, which is no model alone.
    #[error("`{}` is shard {number} of {all}, without the other tensors of the model", shown_path(path))]
    Shard {
        /// The file.
        path: PathBuf,
        /// Its number.
        number: usize,
        /// The number of all shards.
        all: usize,
    },
    /// The source lacks a requested tower.
    #[error("`{}` has only the {} tower, not {}", shown_path(path), found.name(), named(*wanted))]
    NoTower {
        /// The source.
        path: PathBuf,
        /// The requested towers.
        wanted: Towers,
        /// The existing towers.
        found: Towers,
    },
    /// The model's weights cannot be told apart from other tensors.
    #[error("`{}`: {cause}", shown_path(path))]
    Select {
        /// The source.
        path: PathBuf,
        /// The reason.
        cause: SelectError,
    },
    /// No layout has these names and shapes.
    #[error("`{}`: the tensor names match no known layout ({})", shown_path(path), names.join(", "))]
    UnknownLayout {
        /// The source.
        path: PathBuf,
        /// Some of the names.
        names: Vec<String>,
    },
    /// One array, as of features.
    #[error("`{}` is one array without a name, and not a model", shown_path(path))]
    Unnamed {
        /// The file.
        path: PathBuf,
    },
    /// The given model is not a registered name.
    #[error(transparent)]
    UnknownModel(#[from] UnknownModel),
    /// A config is malformed.
    #[error("`{}`: {cause}", shown_path(path))]
    Config {
        /// The config.
        path: PathBuf,
        /// What is wrong with it.
        cause: FormatError,
    },
    /// The text model's config beside the weights cannot be used.
    #[error("`{}`: {cause}", shown_path(path))]
    TextModel {
        /// The config.
        path: PathBuf,
        /// What is wrong with it.
        cause: TextModelError,
    },
    /// A requested change does not fit the model.
    #[error("the {change} does not fit the model: {cause}")]
    Change {
        /// What was to change, such as `image size`.
        change: &'static str,
        /// The reason.
        cause: FormatError,
    },
    /// The vocabulary cannot be trimmed.
    #[error("`{}`: the vocabulary cannot be trimmed: {cause}", shown_path(path))]
    Vocabulary {
        /// The source.
        path: PathBuf,
        /// The reason.
        cause: VocabularyError,
    },
    /// Folding was requested, but the branches are folded already.
    #[error("`{}`: nothing to fold: the branches are already folded", shown_path(path))]
    AlreadyFolded {
        /// The source.
        path: PathBuf,
    },
    /// The config cannot be determined from the weights.
    #[error(transparent)]
    Candidates(#[from] Box<Candidates>),
    /// The config cannot be built.
    #[error("{model}: {cause}")]
    Architecture {
        /// Name of the model.
        model: String,
        /// What is wrong.
        cause: ArchitectureError,
    },
    /// The weights do not match the config.
    #[error(transparent)]
    Mismatch(#[from] Box<Mismatch>),
    /// Tensors of a known layout cannot be converted.
    #[error("`{}`: {cause}", shown_path(path))]
    Layout {
        /// The source.
        path: PathBuf,
        /// The reason.
        cause: Box<LayoutError>,
    },
    /// Nothing states the preprocessing, and the model's pretrained tags differ.
    #[error("the pretrained tags of `{model}` use different preprocessing:{}", lines(choices))]
    Preprocessing {
        /// The registered name.
        model: String,
        /// Each tag with its preprocessing.
        choices: Vec<String>,
    },
    /// The trainer's log contradicts what was given, or is malformed.
    #[error("the trainer's `params.txt`:{}", lines(problems))]
    TrainerLog {
        /// Each contradiction.
        problems: Vec<String>,
    },
    /// A plan cannot be made.
    #[error("`{}`: {cause}", shown_path(path))]
    Plan {
        /// The source.
        path: PathBuf,
        /// The reason.
        cause: PlanError,
    },
    /// A source tensor was lost or duplicated.
    #[error(transparent)]
    Imbalance(#[from] Imbalance),
    /// A number among the tensors cannot be read.
    #[error("`{}`: {cause}", shown_path(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: FormatError,
    },
}

fn named(tower: Towers) -> &'static str {
    match tower {
        Towers::Both => "both",
        Towers::Image => "the image tower",
        Towers::Text => "the text tower",
    }
}

impl SourceError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            SourceError::Open(error) => error.code(),
            SourceError::NoTower { .. } | SourceError::Shard { .. } => "missing",
            SourceError::Select { cause, .. } => cause.code(),
            SourceError::UnknownLayout { .. } | SourceError::Unnamed { .. } => "unknown-layout",
            SourceError::UnknownModel(_) => "unknown-model",
            SourceError::Config { cause, .. }
            | SourceError::Read { cause, .. }
            | SourceError::Change { cause, .. } => cause.code.name(),
            SourceError::TextModel { cause, .. } => cause.code(),
            SourceError::Vocabulary { .. } => "vocabulary",
            SourceError::AlreadyFolded { .. } => "already-folded",
            SourceError::Candidates(_) => "ambiguous-model",
            SourceError::Architecture { cause, .. } => cause.code(),
            SourceError::Mismatch(mismatch) => mismatch.differences.code(),
            SourceError::Layout { cause, .. } => cause.code(),
            SourceError::Plan { cause, .. } => cause.code(),
            SourceError::Imbalance(_) => "ledger",
            SourceError::Preprocessing { .. } => "ambiguous-preprocessing",
            SourceError::TrainerLog { .. } => "contradiction",
        }
    }

    /// All differences between weights and model.
    pub fn differences(&self) -> Option<&Differences> {
        match self {
            SourceError::Mismatch(mismatch) => Some(&mismatch.differences),
            SourceError::Candidates(candidates) => Some(&candidates.differences),
            SourceError::Plan { cause: PlanError::Differs(differences), .. } => Some(differences),
            SourceError::Layout { cause, .. } => match &**cause {
                LayoutError::Contradictions(found) => Some(&found.differences),
                _ => None,
            },
            _ => None,
        }
    }

    /// All problems of the configs, if they are reported together.
    pub fn problems(&self) -> Vec<&str> {
        match self {
            SourceError::TextModel { cause: TextModelError::Problems(problems), .. } => {
                problems.iter().map(String::as_str).collect()
            }
            SourceError::Layout { cause, .. } => match &**cause {
                LayoutError::Contradictions(found) => {
                    let problems = found.files.iter().flat_map(|(_, problems)| problems);
                    problems.map(String::as_str).collect()
                }
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    pub(super) fn unknown_layout(path: PathBuf, names: impl Iterator<Item = impl AsRef<str>>) -> SourceError {
        const MOST_NAMES: usize = 5;
        let mut names = names.peekable();
        if names.peek().is_some_and(|name| name.as_ref().is_empty()) {
            return SourceError::Unnamed { path };
        }
        let names = names.take(MOST_NAMES).map(|name| format!("`{}`", shown(name.as_ref()))).collect();
        SourceError::UnknownLayout { path, names }
    }
}
