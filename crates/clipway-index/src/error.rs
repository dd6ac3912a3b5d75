//! Why an index cannot be filled.

use std::path::PathBuf;

use clipway_formats::shown_path;
use clipway_run::clip::ClipError;
use clipway_search::IndexError;

/// An index cannot be filled. What was committed before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FillError {
    /// The index cannot be read or written.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The model refuses pixels that it should take.
    #[error(transparent)]
    Model(#[from] ClipError),
    /// No folder can be walked.
    #[error("`{}`: {reason}", shown_path(path))]
    NoFolder {
        /// The first of the folders.
        path: PathBuf,
        /// Why it cannot be walked.
        reason: String,
    },
}

impl FillError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            FillError::Index(error) => error.code(),
            FillError::Model(error) => error.code(),
            FillError::NoFolder { .. } => "io",
        }
    }
}
