//! What an artifact in integers says of its quantization.

use serde::{Deserialize, Serialize};

use crate::plan::{Integers, Towers};

/// Which tensors are in integers, and what that costs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantization {
    /// The integers; left out for int8.
    #[serde(skip_serializing_if = "is_int8", default)]
    pub integers: Integers,
    /// Tensors in these integers.
    pub tensors: usize,
    /// Their elements.
    pub elements: u64,
    /// Tensors that could be in them and are not, in the order in which they were kept.
    pub kept: Vec<KeptTensor>,
    /// Largest mean of 1 minus cosine of a tower's features, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_loss: Option<f64>,
    /// Smallest share of images and of texts that keep their best match, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub min_agreement: Option<f64>,
    /// What it was measured on; `None` where nothing was run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub inputs: Option<String>,
    /// What it costs on the half of the inputs that chose which tensors are kept; empty where nothing was run.
    #[serde(skip_serializing_if = "QuantizationLoss::is_empty", default)]
    pub chosen_by: QuantizationLoss,
    /// What it costs on the other half, which chose nothing; empty where nothing was run.
    #[serde(skip_serializing_if = "QuantizationLoss::is_empty", default)]
    pub reported: QuantizationLoss,
    /// What each tensor costs alone, on some of the inputs that chose; empty where nothing had to be chosen.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub alone: Vec<TensorLoss>,
}

/// A tensor that is not in the integers that were asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptTensor {
    /// Its name.
    pub tensor: String,
    /// Why: `asked for`, `budget` or `groups`.
    pub why: String,
    /// The wider integers that it is in instead; `None` where it is as it was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub integers: Option<Integers>,
}

/// Whether integers are int8, which is not written, as artifacts were before there was int4.
fn is_int8(integers: &Integers) -> bool {
    *integers == Integers::Int8
}

/// What integers cost beside the source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantizationLoss {
    /// Of the image tower.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub image: Option<TowerLoss>,
    /// Of the text tower.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<TowerLoss>,
    /// Images whose best text stays the same, and images.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub same_best_text: Option<[usize; 2]>,
    /// Texts whose best image stays the same, and texts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub same_best_image: Option<[usize; 2]>,
}

impl QuantizationLoss {
    fn is_empty(&self) -> bool {
        *self == QuantizationLoss::default()
    }
}

/// 1 minus the cosine of a tower's features and the source's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TowerLoss {
    /// Inputs.
    pub inputs: usize,
    /// Mean.
    pub mean: f64,
    /// The worst input's.
    pub worst: f64,
}

/// What a tensor in integers costs, all others as they were.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorLoss {
    /// Its name.
    pub tensor: String,
    /// Its tower.
    pub tower: Towers,
    /// Mean of 1 minus cosine.
    pub mean: f64,
}
