//! Why tensors of a known layout are not converted.

use clipway_formats::{FormatError, shown};

use crate::checkpoint::CheckpointError;
use crate::plan::StepError;
use crate::problems::lines;

/// Tensors whose layout is known are not converted.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The layout is recognised and not supported.
    #[error("this is {title}, which is not converted: {why}")]
    Refused {
        /// The layout, for people.
        title: &'static str,
        /// Why it is not converted.
        why: &'static str,
    },
    /// Tensors of several projects in one state dict.
    #[error("the tensors are of several layouts: {}", parts(.0))]
    Mixed(Vec<LayoutPart>),
    /// A tensor whose shape is not what the layout says.
    #[error(transparent)]
    Step(#[from] StepError),
    /// A file that belongs to the layout cannot be read.
    #[error(transparent)]
    Open(#[from] CheckpointError),
    /// A file that belongs to the layout is not there.
    #[error("`{file}` is not beside the weights, and no shape tells {what}")]
    MissingFile {
        /// The file.
        file: &'static str,
        /// What it would tell.
        what: &'static str,
    },
    /// A file that belongs to the layout is malformed.
    #[error("`{file}`: {cause}")]
    Malformed {
        /// The file.
        file: &'static str,
        /// What is wrong with it.
        #[source]
        cause: FormatError,
    },
    /// What a file says cannot be expressed, or contradicts the weights: everything at once.
    #[error("`{file}` does not fit{}", lines(problems))]
    Contradictions {
        /// The file.
        file: &'static str,
        /// Each contradiction.
        problems: Vec<String>,
    },
}

impl LayoutError {
    /// Stable name of the cause.
    pub fn code(&self) -> &'static str {
        match self {
            LayoutError::Refused { .. } => "unsupported",
            LayoutError::Mixed(_) => "mixed-layouts",
            LayoutError::Step(_) => "shape-mismatch",
            LayoutError::Open(error) => error.code(),
            LayoutError::MissingFile { .. } => "missing",
            LayoutError::Malformed { cause, .. } => cause.code.name(),
            LayoutError::Contradictions { .. } => "contradiction",
        }
    }
}

/// Tensors of one project in a state dict that has those of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutPart {
    /// Whose names they have.
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
