//! How to write a tower.

use clipway_formats::{Dtype, OnnxDim};

use super::int8::Int8;
use crate::plan::Precision;

/// How to write a tower.
#[derive(Clone, Debug, PartialEq)]
pub struct OnnxOptions {
    /// Name of the input: pixels or token ids.
    pub input: String,
    /// Name of the output.
    pub output: String,
    /// Name of the free batch dimension.
    pub batch_name: String,
    /// Batch size, if fixed.
    pub batch: Option<usize>,
    /// Whether texts may be shorter than the context, if the tower supports it.
    pub free_length: bool,
    /// What padding becomes before the tower sees it, if programs may pad with another id than the model expects.
    pub padding: Option<TextPadding>,
    /// Dtype of token ids: I64 or I32.
    pub ids: Dtype,
    /// Dtype of weights and arithmetic.
    pub precision: OnnxPrecision,
    /// What is stored in int8, if anything.
    pub int8: Option<Int8>,
    /// Whether features are divided by their length.
    pub normalize: bool,
    /// Whether each block's result is an output too.
    pub blocks: bool,
    /// Format of the pixels.
    pub pixels: PixelInput,
}

impl Default for OnnxOptions {
    fn default() -> OnnxOptions {
        OnnxOptions {
            input: "input".to_owned(),
            output: "embedding".to_owned(),
            batch_name: "batch".to_owned(),
            batch: None,
            free_length: false,
            padding: None,
            ids: Dtype::I64,
            precision: OnnxPrecision::F32,
            int8: None,
            normalize: false,
            blocks: false,
            pixels: PixelInput::Normalized,
        }
    }
}

/// What the ids after the end of a text become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextPadding {
    /// The id that ends a text; what follows its first occurrence is padding.
    pub end: i64,
    /// The id of padding in training.
    pub id: i64,
}

/// Dtype of weights and arithmetic. Inputs and outputs are always f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnnxPrecision {
    /// f32.
    #[default]
    F32,
    /// f16; sums of squares and means in f32.
    F16,
}

/// A precision that cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ONNX Runtime cannot run {precision} on a CPU: it refuses such graphs when it loads them")]
pub struct PrecisionError {
    /// Name of the precision.
    pub precision: &'static str,
}

impl TryFrom<Precision> for OnnxPrecision {
    type Error = PrecisionError;

    fn try_from(precision: Precision) -> Result<OnnxPrecision, PrecisionError> {
        match precision {
            Precision::F32 => Ok(OnnxPrecision::F32),
            Precision::F16 => Ok(OnnxPrecision::F16),
            Precision::BF16 => Err(PrecisionError { precision: precision.name() }),
        }
    }
}

/// Format of an image tower's input.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum PixelInput {
    /// Normalized pixels, f32 `[batch, 3, height, width]`.
    #[default]
    Normalized,
    /// Bytes, `[batch, height, width, 3]`. The graph normalizes them by each color's mean and standard deviation, as
    /// fractions of 255.
    Bytes {
        /// The means.
        mean: [f64; 3],
        /// The standard deviations.
        std: [f64; 3],
    },
}

impl OnnxOptions {
    /// The batch dimension.
    pub(super) fn samples(&self) -> OnnxDim {
        match self.batch {
            Some(samples) => OnnxDim::Fixed(samples),
            None => OnnxDim::Free(self.batch_name.clone()),
        }
    }
}
