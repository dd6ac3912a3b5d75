//! Folding: one convolution made of the branches that were trained in its place.

use super::layers::{BatchNorm, Conv2d};
use super::parameters::{ParameterId, Parameters, Scope};

/// One addend of a folded convolution: filters, a batch norm after them, a scale after that.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FoldTerm {
    /// Filters, centerd in those of the folded convolution; `None` for those that leave a map as it is.
    pub filters: Option<ParameterId>,
    /// Bias of the filters.
    pub bias: Option<ParameterId>,
    /// Batch norm of what they give.
    pub norm: Option<BatchNorm>,
    /// Factors of the channels of what that gives.
    pub scale: Option<ParameterId>,
    /// Whether the term is subtracted.
    pub negative: bool,
}

/// What a folded convolution is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Fold {
    /// Filters of the folded convolution.
    pub weight: ParameterId,
    /// Bias of the folded convolution.
    pub bias: ParameterId,
    /// The tensors that were trained, by their names in the state dict.
    pub branches: Parameters,
    /// What is summed up, in terms of `branches`.
    pub terms: Vec<FoldTerm>,
}

impl Scope<'_> {
    /// Declares a convolution with bias that is made of branches: `declare` declares these in the scope, as they
    /// were trained, and says how they add up. `weight` is the shape of the filters, `[outputs, inputs / groups,
    /// height, width]`; the stride is 1, there is no padding.
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
