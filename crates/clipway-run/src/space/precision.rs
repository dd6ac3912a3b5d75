//! How exact a model's features are.

use clipway_model::artifact::Tolerance;
use serde::{Deserialize, Serialize};

/// What weights are stored in, or products are computed in, exactest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpacePrecision {
    /// 24 significant bits.
    F32,
    /// 11 significant bits.
    Fp16,
    /// 8 significant bits.
    Bf16,
    /// 8 bits with scales.
    Int8,
    /// 4 bits with scales.
    Int4,
}

impl SpacePrecision {
    /// Name in messages and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            SpacePrecision::F32 => "f32",
            SpacePrecision::Fp16 => "fp16",
            SpacePrecision::Bf16 => "bf16",
            SpacePrecision::Int8 => "int8",
            SpacePrecision::Int4 => "int4",
        }
    }

    /// How far features may be from those of the same model in f32: the named tolerances of a verification.
    pub fn tolerance(self) -> Tolerance {
        match self {
            SpacePrecision::F32 => Tolerance::f32(),
            SpacePrecision::Fp16 => Tolerance::fp16(),
            SpacePrecision::Bf16 => Tolerance::bf16(),
            SpacePrecision::Int8 => Tolerance::int8(),
            SpacePrecision::Int4 => Tolerance::int4(),
        }
    }

    /// Smallest cosine of a feature with that of the same model in f32.
    pub fn least_cosine(self) -> f64 {
        self.tolerance().cosine
    }
}
