//! Why tensors of a known layout cannot be converted.

use clipway_formats::{FormatError, shown};

use super::known::KnownConfig;
use crate::checkpoint::CheckpointError;
use crate::config::TextConfig;
use crate::differences::Differences;
use crate::plan::StepError;
use crate::problems::{Problems, lines};

/// Tensors of a known layout cannot be converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The layout is recognized but not supported.
    #[error("this is {title}, which cannot be converted: {why}")]
    Refused {
        /// The layout, for people.
        title: &'static str,
        /// The reason.
        why: &'static str,
    },
    /// A folder of transformers whose `config.json` names a model that is not supported.
    #[error("`config.json` says that this is a `{kind}`{}, which is not supported", of_class(class.as_deref()))]
    OtherKind {
        /// Its `model_type`, escaped and shortened.
        kind: String,
        /// Its class, so too.
        class: Option<String>,
    },
    /// A folder of timm, whose `config.json` names an image model.
    #[error("`config.json` says that this is timm's `{architecture}`, an image model without a text tower")]
    ImageModel {
        /// Its name, escaped and shortened.
        architecture: String,
    },
    /// Tensors of several projects in one state dict.
    #[error("the tensors belong to several layouts: {}", parts(.0))]
    Mixed(Vec<LayoutPart>),
    /// A tensor with the wrong shape for the layout.
    #[error(transparent)]
    Step(#[from] StepError),
    /// A file that belongs to the layout cannot be read.
    #[error(transparent)]
    Open(#[from] CheckpointError),
    /// A file that belongs to the layout is missing.
    #[error("`{file}` is missing beside the weights, and no shape shows {what}")]
    MissingFile {
        /// The file.
        file: &'static str,
        /// What it would state.
        what: &'static str,
    },
    /// A file that belongs to the layout is malformed.
    #[error("`{file}`: {cause}")]
    Malformed {
        /// The file.
        file: &'static str,
        /// What is wrong with it.
        cause: FormatError,
    },
    /// Files state what cannot be expressed, or contradict the weights or each other; all problems together.
    #[error(transparent)]
    Contradictions(Box<Contradictions>),
}

/// Files that contradict the weights or each other, or state what cannot be expressed.
#[derive(Debug, Default, thiserror::Error)]
#[error("{}", self.text())]
pub struct Contradictions {
    /// Each file, with all its problems.
    pub files: Vec<(&'static str, Vec<String>)>,
    /// The config that the files would give.
    pub(crate) known: Option<KnownConfig>,
    /// Differences between the tensors and that config.
    pub differences: Differences,
}

impl Contradictions {
    /// Adds a problem of a file.
    pub(crate) fn add(&mut self, file: &'static str, problems: Problems) {
        if let Err(problems) = problems.none_or(|problems| problems) {
            self.files.push((file, problems));
        }
    }

    /// The config, unless there are problems.
    pub(super) fn none(mut self, known: KnownConfig) -> Result<Option<KnownConfig>, LayoutError> {
        if self.files.is_empty() {
            return Ok(Some(known));
        }
        self.files.extend(known.disagreements.iter().cloned());
        self.known = Some(known);
        Err(LayoutError::Contradictions(Box::new(self)))
    }

    /// The problems found before a config turned out to be malformed; otherwise that error.
    pub(super) fn or(self, error: LayoutError) -> LayoutError {
        if self.files.is_empty() { error } else { LayoutError::Contradictions(Box::new(self)) }
    }

    /// The text tower that the files would give.
    pub fn text_config(&self) -> Option<&TextConfig> {
        self.known.as_ref().map(|known| &known.config.model.text)
    }

    fn text(&self) -> String {
        let file =
            |(file, problems): &(&str, Vec<String>)| format!("`{file}` does not match{}", lines(problems));
        let mut parts: Vec<String> = self.files.iter().map(file).collect();
        if !self.differences.is_empty() {
            parts.push(format!("the tensors do not match its config\n{}", self.differences));
        }
        parts.join("\n")
    }
}

impl Problems {
    /// All added problems, as an error of this file.
    pub(crate) fn none(self, file: &'static str) -> Result<(), LayoutError> {
        self.none_or(|problems| {
            let files = vec![(file, problems)];
            LayoutError::Contradictions(Box::new(Contradictions { files, ..Contradictions::default() }))
        })
    }
}

impl LayoutError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            LayoutError::Refused { .. } | LayoutError::OtherKind { .. } | LayoutError::ImageModel { .. } => {
                "unsupported"
            }
            LayoutError::Mixed(_) => "mixed-layouts",
            LayoutError::Step(_) => "shape-mismatch",
            LayoutError::Open(error) => error.code(),
            LayoutError::MissingFile { .. } => "missing",
            LayoutError::Malformed { cause, .. } => cause.code.name(),
            LayoutError::Contradictions(_) => "contradiction",
        }
    }
}

/// Tensors of one project in a state dict with several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutPart {
    /// The project whose names they have.
    pub title: &'static str,
    /// Number of tensors.
    pub tensors: usize,
    /// Name of the first.
    pub example: String,
}

fn parts(parts: &[LayoutPart]) -> String {
    let part = |LayoutPart { title, tensors, example }: &LayoutPart| {
        let noun = if *tensors == 1 { "tensor" } else { "tensors" };
        format!("{tensors} {noun} of {title}, such as `{}`", shown(example))
    };
    parts.iter().map(part).collect::<Vec<_>>().join("; ")
}

/// The class of a model, for messages.
fn of_class(class: Option<&str>) -> String {
    class.map_or_else(String::new, |class| format!(" (`{class}`)"))
}
