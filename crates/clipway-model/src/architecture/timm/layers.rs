//! Layers of timm's transformers by timm's names: norms, MLPs and layer scale.

use crate::graph::{Activation, GraphBuilder, GraphError, LayerNorm, Linear, ParameterId, Scope, ValueId};

/// Which norm, and what it adds to the variance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum NormKind {
    /// Mean 0 and variance 1, then scale and shift.
    Layer(f64),
}

/// A norm of tokens or of heads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Norm {
    Layer(LayerNorm),
}

impl Norm {
    pub(super) fn new(scope: Scope<'_>, width: usize, kind: NormKind) -> Norm {
        match kind {
            NormKind::Layer(epsilon) => Norm::Layer(LayerNorm::new(scope, width, true, epsilon)),
        }
    }

    /// Normalises each token.
    pub(super) fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        match self {
            Norm::Layer(norm) => graph.layer_norm(x, norm),
        }
    }

    /// Normalises each head of each token.
    pub(super) fn heads(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        match self {
            Norm::Layer(norm) => graph.head_norm(x, norm),
        }
    }
}

/// An MLP of two layers, with a norm between them or none.
pub(super) struct Mlp {
    fc1: Linear,
    activation: Activation,
    norm: Option<Norm>,
    fc2: Linear,
}

/// What an MLP is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct MlpOptions {
    pub(super) width: usize,
    pub(super) hidden: usize,
    pub(super) activation: Activation,
    pub(super) norm: Option<NormKind>,
}

impl Mlp {
    pub(super) fn declare(mut scope: Scope<'_>, options: MlpOptions) -> Mlp {
        let MlpOptions { width, hidden, activation, norm } = options;
        Mlp {
            fc1: Linear::new(scope.child("fc1"), width, hidden, true),
            activation,
            norm: norm.map(|kind| Norm::new(scope.child("norm"), hidden, kind)),
            fc2: Linear::new(scope.child("fc2"), hidden, width, true),
        }
    }

    pub(super) fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        let mut x = graph.linear(x, &self.fc1)?;
        x = graph.activation(x, self.activation);
        if let Some(norm) = &self.norm {
            x = norm.forward(graph, x)?;
        }
        graph.linear(x, &self.fc2)
    }
}

/// Adds a branch to what it branched from: `x + scale · branch`.
pub(super) fn join(
    graph: &mut GraphBuilder<'_>,
    x: ValueId,
    branch: ValueId,
    scale: Option<ParameterId>,
) -> Result<ValueId, GraphError> {
    let branch = match scale {
        Some(scale) => graph.scale(branch, scale)?,
        None => branch,
    };
    graph.add(x, branch)
}
