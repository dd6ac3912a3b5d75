//! Why an export did not happen.

use std::path::PathBuf;

use clipway_formats::{FormatError, shown};

use crate::architecture::ArchitectureError;
use crate::artifact::ArtifactError;
use crate::checkpoint::CheckpointError;
use crate::config::text_model::TextModelError;
use crate::differences::Differences;
use crate::layout::LayoutError;
use crate::output::OutputError;
use crate::plan::{Imbalance, PlanError};
use crate::state_dict::SelectError;

use super::resolve::{Candidates, Mismatch};
use crate::registry::UnknownModel;
use crate::spelling::SpellError;

/// An error of the caller's verification.
pub type VerifyError = Box<dyn std::error::Error + Send + Sync>;

/// An export did not happen; the target is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The weights in the checkpoint cannot be told.
    #[error("`{}`: {cause}", path.display())]
    Select {
        /// The source.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: SelectError,
    },
    /// No layout has these names and shapes.
    #[error("`{}`: the names of the tensors are those of no layout that is known ({})", path.display(), names.join(", "))]
    UnknownLayout {
        /// The source.
        path: PathBuf,
        /// Some of the names.
        names: Vec<String>,
    },
    /// `--model` is no registered name.
    #[error(transparent)]
    UnknownModel(#[from] UnknownModel),
    /// A file cannot be opened.
    #[error(transparent)]
    Open(#[from] CheckpointError),
    /// The `clipway.json` of the source cannot be read.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A config is malformed.
    #[error("`{}`: {cause}", path.display())]
    Config {
        /// The config.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: FormatError,
    },
    /// The text model's config beside the weights cannot be used.
    #[error("`{}`: {cause}", path.display())]
    TextModel {
        /// The config.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: TextModelError,
    },
    /// A change that was asked for does not fit the config.
    #[error("{option} does not fit the model: {cause}")]
    Option {
        /// The change, such as `--image-size`.
        option: &'static str,
        /// What does not fit.
        #[source]
        cause: FormatError,
    },
    /// `--fold` was asked for where there are no branches any more.
    #[error("`{}`: `--fold` has nothing to do, the branches are folded already", path.display())]
    AlreadyFolded {
        /// The source.
        path: PathBuf,
    },
    /// The config cannot be known from the weights.
    #[error(transparent)]
    Candidates(#[from] Box<Candidates>),
    /// The config asks for what cannot be built.
    #[error("{model}: {cause}")]
    Architecture {
        /// Name of the model.
        model: String,
        /// What is wrong.
        #[source]
        cause: ArchitectureError,
    },
    /// The weights are not those of the config.
    #[error(transparent)]
    Mismatch(#[from] Box<Mismatch>),
    /// Tensors of a known layout are not converted.
    #[error("`{}`: {cause}", path.display())]
    Layout {
        /// The source.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: Box<LayoutError>,
    },
    /// A plan cannot be made.
    #[error("`{}`: {cause}", path.display())]
    Plan {
        /// The source.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: PlanError,
    },
    /// The target cannot hold the model.
    #[error("`{}`, {model}: {cause}", path.display())]
    Target {
        /// The source.
        path: PathBuf,
        /// Name of the model.
        model: String,
        /// What cannot be expressed.
        #[source]
        cause: SpellError,
    },
    /// A tensor of the source is lost or doubled.
    #[error(transparent)]
    Imbalance(#[from] Imbalance),
    /// Values that are finite would become infinite.
    #[error("{} cannot be written in {precision}: {}", count_tensors(tensors.len()), list_overflows(tensors))]
    Overflow {
        /// The precision that was asked for.
        precision: &'static str,
        /// Each tensor, with the number of its values that are out of range.
        tensors: Vec<(String, usize)>,
    },
    /// A weight cannot be read.
    #[error("`{}`: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: FormatError,
    },
    /// The folder cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// What was read back is not what was written.
    #[error("`{}`: {cause}; the disk or its cable may be failing", path.display())]
    ReadBack {
        /// The file.
        path: PathBuf,
        /// What differs.
        cause: String,
    },
    /// The source changed while it was read.
    #[error("`{}` changed while it was read: tensor `{}`", path.display(), shown(tensor))]
    SourceChanged {
        /// The source.
        path: PathBuf,
        /// A tensor that was read twice, differently.
        tensor: String,
    },
    /// The folder does not pass its verification, so it was not put in place.
    #[error("the export does not pass its verification: {0}")]
    Verification(#[source] VerifyError),
    /// The export was interrupted.
    #[error("interrupted; nothing was written")]
    Interrupted,
}

fn count_tensors(count: usize) -> String {
    if count == 1 { "a tensor".to_owned() } else { format!("{count} tensors") }
}

fn list_overflows(tensors: &[(String, usize)]) -> String {
    const MOST: usize = 5;
    let mut parts: Vec<String> = Vec::new();
    for (name, count) in tensors.iter().take(MOST) {
        let values = if *count == 1 { "value is" } else { "values are" };
        parts.push(format!("{count} {values} out of range in `{}`", shown(name)));
    }
    if tensors.len() > MOST {
        parts.push(format!("and more in {} others", tensors.len() - MOST));
    }
    parts.join(", ")
}

impl ExportError {
    /// Stable name of the cause.
    pub fn code(&self) -> &'static str {
        match self {
            ExportError::Select { cause, .. } => cause.code(),
            ExportError::UnknownLayout { .. } => "unknown-layout",
            ExportError::UnknownModel(_) => "unknown-model",
            ExportError::Open(error) => error.code(),
            ExportError::Artifact(error) => error.code(),
            ExportError::Config { cause, .. }
            | ExportError::Read { cause, .. }
            | ExportError::Option { cause, .. } => cause.code.name(),
            ExportError::TextModel { cause, .. } => cause.code(),
            ExportError::Candidates(_) => "ambiguous-model",
            ExportError::Architecture { cause, .. } => cause.code(),
            ExportError::Mismatch(mismatch) => mismatch.differences.code(),
            ExportError::Layout { cause, .. } => cause.code(),
            ExportError::Plan { cause, .. } => cause.code(),
            ExportError::AlreadyFolded { .. } => "already-folded",
            ExportError::Target { cause, .. } => cause.code(),
            ExportError::Imbalance(_) => "ledger",
            ExportError::Overflow { .. } => "overflow",
            ExportError::Output(error) => error.code(),
            ExportError::ReadBack { .. } => "read-back",
            ExportError::SourceChanged { .. } => "source-changed",
            ExportError::Verification(_) => "verification",
            ExportError::Interrupted => "interrupted",
        }
    }

    /// Everything in which weights and model differ.
    pub fn differences(&self) -> Option<&Differences> {
        match self {
            ExportError::Mismatch(mismatch) => Some(&mismatch.differences),
            ExportError::Candidates(candidates) => Some(&candidates.differences),
            ExportError::Plan { cause: PlanError::Differs(differences), .. } => Some(differences),
            ExportError::Layout { cause, .. } => match &**cause {
                LayoutError::Contradictions(found) => Some(&found.differences),
                _ => None,
            },
            _ => None,
        }
    }

    /// Every problem of configs or a target, where they are told together.
    pub fn problems(&self) -> Vec<&str> {
        let all: Vec<&String> = match self {
            ExportError::TextModel { cause: TextModelError::Problems(problems), .. }
            | ExportError::Target { cause: SpellError::Inexpressible { problems, .. }, .. } => {
                problems.iter().collect()
            }
            ExportError::Layout { cause, .. } => match &**cause {
                LayoutError::Contradictions(found) => {
                    found.files.iter().flat_map(|(_, problems)| problems).collect()
                }
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        all.into_iter().map(String::as_str).collect()
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ExportError::Overflow { precision: "fp16", .. } => {
                Some("pass `--precision bf16`, which has the range of fp32".to_owned())
            }
            ExportError::Overflow { .. } => Some("pass `--precision fp32`".to_owned()),
            ExportError::Candidates(candidates) => Some(candidates.hint()),
            ExportError::Mismatch(mismatch) => mismatch.hint(),
            ExportError::UnknownModel(UnknownModel { nearest: Some(name), .. }) => {
                Some(format!("pass `--model {name}`, or a config file; `clipway models` lists the names"))
            }
            ExportError::UnknownModel(_) => {
                Some("`clipway models` lists the names; a config file ends in `.json`".to_owned())
            }
            ExportError::Open(error) => error.hint(),
            ExportError::Output(OutputError::Exists { .. }) => {
                Some("pass `--force` to replace it".to_owned())
            }
            ExportError::Select { cause: SelectError::NotThere { found, .. }, .. } => {
                Some(format!("pass `--weights {}`, or leave the option out", found.name()))
            }
            ExportError::Select { cause: SelectError::Ambiguous { .. }, .. } => {
                Some("`clipway inspect SOURCE --tensors` lists what is there".to_owned())
            }
            _ => None,
        }
    }
}
