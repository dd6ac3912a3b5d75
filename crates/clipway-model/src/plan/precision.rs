//! The dtype to write weights in.

use clipway_formats::Dtype;
use serde::{Deserialize, Serialize};

/// Dtype of the written floating-point tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precision {
    /// 32-bit floats.
    #[serde(rename = "fp32")]
    F32,
    /// 16-bit floats of IEEE 754: 11 bits of precision, at most 65504.
    #[serde(rename = "fp16")]
    F16,
    /// 16-bit floats with the range of f32 and 8 bits of precision.
    #[serde(rename = "bf16")]
    BF16,
}

impl Precision {
    /// Every precision.
    pub const ALL: [Precision; 3] = [Precision::F32, Precision::F16, Precision::BF16];

    /// Name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Precision::F32 => "fp32",
            Precision::F16 => "fp16",
            Precision::BF16 => "bf16",
        }
    }

    /// The dtype.
    pub const fn dtype(self) -> Dtype {
        match self {
            Precision::F32 => Dtype::F32,
            Precision::F16 => Dtype::F16,
            Precision::BF16 => Dtype::BF16,
        }
    }
}
