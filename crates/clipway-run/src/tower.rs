//! The interface of backends: what computes one tower's features, whatever the runtime.
//!
//! [`Engine`](crate::engine::Engine) implements [`Tower`]; other runtimes can implement it too, and
//! [`Encoder`](crate::encoder::Encoder) uses any of them.

use std::error::Error;
use std::fmt;

use serde::Serialize;

/// The input of a tower.
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
    /// Normalized pixels of images with sizes of their own, whole square patches. Each image is a row of
    /// `3 · side² · most + 2` values: pixels `[3, height, width]`, zeros, then height and width.
    Grids {
        /// Side of a patch, in pixels.
        side: usize,
        /// Maximum number of patches of an image.
        most: usize,
    },
    /// Token ids `[batch, length]`.
    Tokens {
        /// Minimum text length: one token, or the context length for a tower whose texts are always padded.
        least: usize,
        /// Maximum text length.
        context: usize,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
}

impl TowerInput {
    /// The tower with this input: `image` or `text`.
    pub fn tower(&self) -> &'static str {
        match self {
            TowerInput::Pixels { .. } | TowerInput::Grids { .. } => "image",
            TowerInput::Tokens { .. } => "text",
        }
    }
}

/// Inputs of one call.
#[derive(Clone, Copy, Debug)]
pub enum TowerBatch<'a> {
    /// Normalized pixels, as [`TowerInput::Pixels`] or [`TowerInput::Grids`] describes them.
    Pixels(&'a [f32]),
    /// Token ids `[batch, length]`.
    Tokens {
        /// The ids, text after text.
        ids: &'a [i64],
        /// Number of tokens in each text.
        length: usize,
    },
}

/// An intermediate value of a tower, named after the module that computes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Intermediate {
    /// Module, such as `visual.transformer.resblocks.0`.
    pub name: String,
    /// Rows of `width` values, sample after sample; for a map, one row per place.
    pub values: Vec<f32>,
    /// Number of values in a row.
    pub width: usize,
}

/// A description of a tower, for people and for JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TowerDescription {
    /// Its input.
    pub input: TowerInput,
    /// Number of values in a feature.
    pub width: usize,
    /// What computes it: a runtime and its instruction set, such as `clipway, avx512`.
    pub backend: String,
    /// Number of threads it computes with.
    pub threads: usize,
}

/// One tower of a model, ready to run. Its features match open_clip's `encode_image` and `encode_text` before any
/// normalization that the caller asks for.
pub trait Tower: fmt::Debug + Send + Sync {
    /// Describes the tower.
    fn describe(&self) -> TowerDescription;

    /// Computes features, `[batch, width]`. A sample's feature does not depend on the batch it is in.
    ///
    /// # Errors
    /// Inputs that are not whole samples, belong to the other tower, or are outside the vocabulary; and any failure of
    /// the backend.
    fn features(&self, batch: TowerBatch<'_>) -> Result<Vec<f32>, TowerError>;

    /// Computes intermediate values by name, in order of computation; empty if the tower was not prepared for them.
    ///
    /// # Errors
    /// The errors of [`Tower::features`].
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

    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        self.code
    }
}

impl fmt::Display for TowerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

/// It represents the backend's error, so its source is that error's source.
impl Error for TowerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}
