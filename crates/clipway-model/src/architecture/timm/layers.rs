//! Layers of timm's transformers with timm's names: MLPs and layer scale.

use crate::graph::{Activation, GraphBuilder, GraphError, Linear, ParameterId, Scope, ValueId};

pub(super) use super::super::norm::{Norm, NormKind};

/// An MLP of two layers, with or without a norm between them.
pub(super) struct Mlp {
    pre_norm: Option<Norm>,
    first: First,
    activation: Activation,
    norm: Option<Norm>,
    last: Linear,
}

/// The first layer of an MLP.
enum First {
    Plain(Linear),
    /// Gate and value.
    Gated([Linear; 2]),
}

/// Settings of an MLP.
#[derive(Clone, Copy, Debug)]
pub(super) struct MlpOptions {
    pub(super) kind: MlpKind,
    pub(super) width: usize,
    pub(super) hidden: usize,
    pub(super) bias: bool,
    pub(super) activation: Activation,
    pub(super) norm: Option<NormKind>,
}

/// How the hidden values are computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum MlpKind {
    /// `activation(fc1 x)`.
    Plain,
    /// `activation(g) · v` with gate and value from one matrix (SwiGLU, <https://arxiv.org/abs/2002.05202>).
    Packed,
    /// The same with separate matrices.
    Split,
    /// The same after the MLP's own norm, with the names of ViTamin's `GeGluMlp`.
    NormSplit(NormKind),
}

impl Mlp {
    pub(super) fn declare(mut scope: Scope<'_>, options: MlpOptions) -> Mlp {
        let MlpOptions { kind, width, hidden, bias, activation, norm } = options;
        let pre_norm = match kind {
            MlpKind::NormSplit(norm) => Some(Norm::new(scope.child("norm"), width, norm)),
            MlpKind::Plain | MlpKind::Packed | MlpKind::Split => None,
        };
        let mut layer = |name: &str, outputs: usize| Linear::new(scope.child(name), width, outputs, bias);
        let first = match kind {
            MlpKind::Plain => First::Plain(layer("fc1", hidden)),
            MlpKind::Packed => {
                let packed = layer("fc1", 2 * hidden);
                First::Gated([packed.part(0, hidden), packed.part(1, hidden)])
            }
            MlpKind::Split => First::Gated([layer("fc1_g", hidden), layer("fc1_x", hidden)]),
            MlpKind::NormSplit(_) => First::Gated([layer("w0", hidden), layer("w1", hidden)]),
        };
        let last = if pre_norm.is_some() { "w2" } else { "fc2" };
        Mlp {
            pre_norm,
            first,
            activation,
            norm: norm.map(|kind| Norm::new(scope.child("norm"), hidden, kind)),
            last: Linear::new(scope.child(last), hidden, width, bias),
        }
    }

    pub(super) fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        let x = match &self.pre_norm {
            Some(norm) => norm.forward(graph, x)?,
            None => x,
        };
        let mut x = match &self.first {
            First::Plain(fc1) => {
                let x = graph.linear(x, fc1)?;
                graph.activation(x, self.activation)
            }
            First::Gated([gate, value]) => {
                let gate = graph.linear(x, gate)?;
                let gate = graph.activation(gate, self.activation);
                let value = graph.linear(x, value)?;
                graph.multiply(gate, value)?
            }
        };
        if let Some(norm) = &self.norm {
            x = norm.forward(graph, x)?;
        }
        graph.linear(x, &self.last)
    }
}

/// Adds a branch to its input: `x + scale · branch`.
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
