//! What open_clip puts after a timm trunk: a projection, linear or an MLP.

use crate::config::{TimmConfig, TimmProjection};
use crate::graph::{Activation, GraphBuilder, GraphError, Linear, Scope, ValueId};

use super::ArchitectureError;

pub(super) struct Head {
    path: String,
    projection: Projection,
}

enum Projection {
    None,
    Linear(Linear),
    Mlp([Linear; 2]),
}

/// Whether open_clip pools by an attention of its own after the trunk.
pub(super) fn is_custom_pool(pool: &str) -> bool {
    matches!(pool, "abs_attn" | "rot_attn")
}

impl Head {
    /// Declares the tensors between a vector of `features` and one of `embed_dim`.
    pub(super) fn declare(
        timm: &TimmConfig,
        features: usize,
        embed_dim: usize,
        mut scope: Scope<'_>,
    ) -> Result<Head, ArchitectureError> {
        if is_custom_pool(&timm.pool) {
            let what = format!("`vision_cfg.timm_pool: {}`", timm.pool);
            return Err(ArchitectureError::unsupported(what, "the trunks' own pools are"));
        }
        let bias = timm.projection_bias;
        let projection = match timm.projection {
            TimmProjection::None | TimmProjection::Head => Projection::None,
            TimmProjection::Linear => {
                Projection::Linear(Linear::new(scope.child("proj"), features, embed_dim, bias))
            }
            TimmProjection::Mlp => {
                let mut mlp = scope.child("mlp");
                Projection::Mlp([
                    Linear::new(mlp.child("fc1"), features, 2 * embed_dim, true),
                    Linear::new(mlp.child("fc2"), 2 * embed_dim, embed_dim, bias),
                ])
            }
        };
        Ok(Head { path: scope.path().to_owned(), projection })
    }

    /// From the trunk's vector to the embedding.
    pub(super) fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        match &self.projection {
            Projection::None => Ok(x),
            Projection::Linear(projection) => graph.linear(x, projection),
            Projection::Mlp([first, second]) => {
                let x = graph.linear(x, first)?;
                let x = graph.activation(x, Activation::Gelu);
                graph.linear(x, second)
            }
        }
    }
}
