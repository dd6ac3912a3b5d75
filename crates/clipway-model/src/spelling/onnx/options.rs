//! How a tower is written.

use clipway_formats::{Dtype, OnnxDim};

use crate::plan::Precision;

/// How a tower is written.
#[derive(Clone, Debug, PartialEq)]
pub struct OnnxOptions {
    /// Name of the input: pixels or token ids.
    pub input: String,
    /// Name of the output.
    pub output: String,
    /// Name of the free dimension of samples.
    pub batch_name: String,
    /// Number of samples, where it is fixed.
    pub batch: Option<usize>,
    /// Whether texts may be shorter than the context, where the tower can read them.
    pub free_length: bool,
    /// Dtype of token ids: I64 or I32.
    pub ids: Dtype,
    /// Dtype of weights and arithmetic.
    pub precision: OnnxPrecision,
    /// Whether features are divided by their length.
    pub normalize: bool,
    /// Whether the output of each block is an output too.
    pub blocks: bool,
    /// What pixels are.
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
            ids: Dtype::I64,
            precision: OnnxPrecision::F32,
            normalize: false,
            blocks: false,
            pixels: PixelInput::Normalized,
        }
    }
}

/// Dtype of weights and arithmetic. Inputs and outputs are f32 in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnnxPrecision {
    /// f32.
    #[default]
    F32,
    /// f16; sums of squares and means in f32.
    F16,
}

/// Why a precision cannot be written.
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

/// What the input of an image tower is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum PixelInput {
    /// Normalized pixels, f32 `[batch, 3, height, width]`.
    #[default]
    Normalized,
    /// Bytes, `[batch, height, width, 3]`, which the graph normalizes by mean and standard deviation of each color,
    /// as fractions of 255.
    Bytes {
        /// The means.
        mean: [f64; 3],
        /// The standard deviations.
        std: [f64; 3],
    },
}

impl OnnxOptions {
    /// The dimension of samples.
    pub(super) fn samples(&self) -> OnnxDim {
        match self.batch {
            Some(samples) => OnnxDim::Fixed(samples),
            None => OnnxDim::Free(self.batch_name.clone()),
        }
    }
}
