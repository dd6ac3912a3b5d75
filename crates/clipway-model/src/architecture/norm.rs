//! Norms of tokens, of one of two kinds.

use crate::graph::{GraphBuilder, GraphError, LayerNorm, RmsNorm, Scope, ValueId};

/// A kind of norm, with its epsilon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum NormKind {
    /// Mean 0 and variance 1, then scale and shift.
    Layer(f64),
    /// Mean square 1, then scale.
    Rms(f64),
}

impl NormKind {
    /// The same norm with another epsilon.
    pub(super) fn with_epsilon(self, epsilon: f64) -> NormKind {
        match self {
            NormKind::Layer(_) => NormKind::Layer(epsilon),
            NormKind::Rms(_) => NormKind::Rms(epsilon),
        }
    }
}

/// A norm of tokens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Norm {
    Layer(LayerNorm),
    Rms(RmsNorm),
}

impl Norm {
    pub(super) fn new(scope: Scope<'_>, width: usize, kind: NormKind) -> Norm {
        match kind {
            NormKind::Layer(epsilon) => Norm::Layer(LayerNorm::new(scope, width, true, epsilon)),
            NormKind::Rms(epsilon) => Norm::Rms(RmsNorm::new(scope, width, epsilon)),
        }
    }

    /// Normalizes each token.
    pub(super) fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        match self {
            Norm::Layer(norm) => graph.layer_norm(x, norm),
            Norm::Rms(norm) => graph.rms_norm(x, norm),
        }
    }

    /// Normalizes each head of each token; the norm is as wide as a head.
    pub(super) fn forward_heads(
        &self,
        graph: &mut GraphBuilder<'_>,
        x: ValueId,
    ) -> Result<ValueId, GraphError> {
        match self {
            Norm::Layer(norm) => graph.head_norm(x, norm),
            Norm::Rms(norm) => graph.head_rms_norm(x, norm),
        }
    }
}
