//! The seam for backends: what computes one tower's features, whatever runtime does it.
//!
//! [`Engine`](crate::engine::Engine) implements [`Tower`]; another runtime implements it too, and
//! [`Encoder`](crate::encoder::Encoder) uses either alike.

use std::error::Error;
use std::fmt;

use serde::Serialize;

/// What a tower takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TowerInput {
    /// Normalized pixels `[batch, 3, height, width]`.
    Pixels {
        /// Rows of an image.
        height: usize,
        /// Columns of an image.
        width: usize,
    },
    /// Token ids `[batch, length]`.
    Tokens {
        /// Shortest text: one token, or the context for a tower whose texts are always padded.
        least: usize,
        /// Longest text.
        context: usize,
        /// Number of ids.
        vocabulary: usize,
    },
}

impl TowerInput {
    /// Which tower takes this: `image` or `text`.
    pub fn tower(&self) -> &'static str {
        match self {
            TowerInput::Pixels { .. } => "image",
            TowerInput::Tokens { .. } => "text",
        }
    }
}

/// Inputs of one call.
#[derive(Clone, Copy, Debug)]
pub enum TowerBatch<'a> {
    /// Normalized pixels `[batch, 3, height, width]`.
    Pixels(&'a [f32]),
    /// Token ids `[batch, length]`.
    Tokens {
        /// The ids, text after text.
        ids: &'a [i64],
        /// Tokens of each text.
        length: usize,
    },
}

/// A value inside a tower, by the name of the module that computes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Intermediate {
    /// Module, such as `visual.transformer.resblocks.0`.
    pub name: String,
    /// Rows of `width` values, sample after sample; of a map one row for each place.
    pub values: Vec<f32>,
    /// Values of a row.
    pub width: usize,
}

/// What a tower is, for people and for JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TowerDescription {
    /// What it takes.
    pub input: TowerInput,
    /// Values of a feature.
    pub width: usize,
    /// What computes it: a runtime and its instruction set, such as `clipway, avx512`.
    pub backend: String,
    /// Threads that it computes with.
    pub threads: usize,
}

/// One tower of a model, ready to run. Features are as open_clip's `encode_image` and `encode_text` compute them
/// before any normalization that the caller asks for.
pub trait Tower: fmt::Debug + Send + Sync {
    /// What the tower is.
    fn describe(&self) -> TowerDescription;

    /// Computes features, `[batch, width]`. A sample's feature does not depend on the batch it is in.
    ///
    /// # Errors
    /// Inputs that are not whole samples, of the other tower's kind, or outside the vocabulary; and whatever keeps
    /// the backend from running.
    fn features(&self, batch: TowerBatch<'_>) -> Result<Vec<f32>, TowerError>;

    /// Computes the named values inside the tower, in the order of computation; empty if it was not prepared for
    /// them.
    ///
    /// # Errors
    /// As [`Tower::features`].
    fn intermediates(&self, batch: TowerBatch<'_>) -> Result<Vec<Intermediate>, TowerError>;
}

/// Why a tower cannot run, in its backend's words.
#[derive(Debug)]
pub struct TowerError {
    code: &'static str,
    cause: Box<dyn Error + Send + Sync>,
}

impl TowerError {
    /// Wraps a backend's error with its stable code.
    pub fn new(code: &'static str, cause: impl Into<Box<dyn Error + Send + Sync>>) -> TowerError {
        TowerError { code, cause: cause.into() }
    }

    /// Stable name of the cause.
    pub fn code(&self) -> &'static str {
        self.code
    }
}

impl fmt::Display for TowerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

/// It stands for the backend's error, so its source is that error's source.
impl Error for TowerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}
