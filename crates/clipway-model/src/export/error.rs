//! Why an export failed.

use std::path::PathBuf;

use clipway_formats::{FormatError, shown, shown_path};

use crate::differences::Differences;
use crate::input::InputError;
use crate::output::OutputError;
use crate::plan::Imbalance;
use crate::source::SourceError;
use crate::spelling::SpellError;
use crate::spelling::onnx::MakeError;

/// An error of the caller's verification.
pub type VerifyError = Box<dyn std::error::Error + Send + Sync>;

/// An export failed; the target is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The source cannot be resolved.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The target cannot represent the model.
    #[error("`{}`, {model}: {cause}", shown_path(path))]
    Target {
        /// The source.
        path: PathBuf,
        /// Name of the model.
        model: String,
        /// What it cannot represent.
        cause: SpellError,
    },
    /// A source tensor was lost or duplicated.
    #[error(transparent)]
    Imbalance(#[from] Imbalance),
    /// Finite values would become infinite.
    #[error("{} cannot be written in {precision}: {}", count_tensors(tensors.len()), list_overflows(tensors))]
    Overflow {
        /// The requested precision.
        precision: &'static str,
        /// Each tensor, with the number of its values that are out of range.
        tensors: Vec<(String, usize)>,
    },
    /// A weight cannot be read.
    #[error("`{}`: {cause}", shown_path(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: FormatError,
    },
    /// A tensor of an ONNX file cannot be made.
    #[error("`{}`: {cause}", path.display())]
    Onnx {
        /// The source.
        path: PathBuf,
        /// Why.
        cause: MakeError,
    },
    /// The folder cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The data read back differs from the data written.
    #[error("`{}`: {cause}; the disk or its cable may be failing", shown_path(path))]
    ReadBack {
        /// The file.
        path: PathBuf,
        /// What differs.
        cause: String,
    },
    /// A source file changed or can no longer be inspected.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The source changed while it was read.
    #[error("`{}` changed while it was read: tensor `{}`", shown_path(path), shown(tensor))]
    SourceChanged {
        /// The source.
        path: PathBuf,
        /// A tensor that gave different data when read twice.
        tensor: String,
    },
    /// The folder failed verification, so it was not moved into place.
    #[error("the export failed verification: {0}")]
    Verification(VerifyError),
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
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            ExportError::Source(error) => error.code(),
            ExportError::Read { cause, .. } => cause.code.name(),
            ExportError::Target { cause, .. } => cause.code(),
            ExportError::Onnx { cause, .. } => cause.code(),
            ExportError::Imbalance(_) => "ledger",
            ExportError::Overflow { .. } => "overflow",
            ExportError::Output(error) => error.code(),
            ExportError::ReadBack { .. } => "read-back",
            ExportError::Input(error) => error.code(),
            ExportError::SourceChanged { .. } => "source-changed",
            ExportError::Verification(_) => "verification",
            ExportError::Interrupted => "interrupted",
        }
    }

    /// All differences between weights and model.
    pub fn differences(&self) -> Option<&Differences> {
        match self {
            ExportError::Source(error) => error.differences(),
            _ => None,
        }
    }

    /// All problems of configs or the target, if they are reported together.
    pub fn problems(&self) -> Vec<&str> {
        match self {
            ExportError::Source(error) => error.problems(),
            ExportError::Target { cause: SpellError::Inexpressible { problems, .. }, .. } => {
                problems.iter().map(String::as_str).collect()
            }
            _ => Vec::new(),
        }
    }
}
