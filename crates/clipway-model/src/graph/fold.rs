//! Folding: one convolution made from the branches it was trained as.

use super::layers::{BatchNorm, Conv2d};
use super::parameters::{ParameterId, Parameters, Scope};

/// One term of a folded convolution: filters, then a batch norm, then a scale.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FoldTerm {
    /// Filters, centered in the folded convolution's; `None` for the identity.
    pub filters: Option<ParameterId>,
    /// Bias of the filters.
    pub bias: Option<ParameterId>,
    /// Batch norm of their output.
    pub norm: Option<BatchNorm>,
    /// Channel factors after the batch norm.
    pub scale: Option<ParameterId>,
    /// Whether the term is subtracted.
    pub negative: bool,
}

/// What a folded convolution is made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Fold {
    /// Filters of the folded convolution.
    pub weight: ParameterId,
    /// Bias of the folded convolution.
    pub bias: ParameterId,
    /// The trained tensors, by their names in the state dict.
    pub branches: Parameters,
    /// The terms of the sum, over `branches`.
    pub terms: Vec<FoldTerm>,
}

impl Scope<'_> {
    /// Declares a convolution with bias that is made from branches. `declare` declares the branches in the scope as
    /// they were trained, and returns the terms of their sum. `weight` is the shape of the filters, `[outputs, inputs /
    /// groups, height, width]`; the stride is 1, without padding.
    pub fn folded_conv2d(
        &mut self,
        name: &str,
        weight: [usize; 4],
        groups: usize,
        declare: impl FnOnce(Scope<'_>) -> Vec<FoldTerm>,
    ) -> Conv2d {
        let mut branches = Parameters::default();
        let terms = declare(branches.root().child(self.path()));
        let mut own = self.child(name);
        let (filters, bias) = (own.parameter("weight", &weight), own.parameter("bias", &weight[..1]));
        own.fold(Fold { weight: filters, bias, branches, terms });
        Conv2d { weight: filters, bias: Some(bias), stride: [1, 1], padding: [0, 0], groups }
    }
}
