//! What open_clip puts after a timm trunk: its own pool or none, and a linear or MLP projection.

use crate::config::{TimmConfig, TimmProjection};
use crate::graph::{Activation, GraphBuilder, GraphError, Linear, Scope, ValueId};

use super::super::error::ArchitectureError;
use super::attention_pool::{AttentionPool, Positions};

pub(super) struct Head {
    path: String,
    pool: Option<AttentionPool>,
    projection: Projection,
}

enum Projection {
    None,
    Linear(Linear),
    Mlp([Linear; 2]),
}

impl Head {
    /// Declares the tensors from the trunk's output, `features` wide, to an embedding of `embed_dim`. `map` is the size
    /// of the trunk's maps according to timm.
    pub(super) fn declare(
        timm: &TimmConfig,
        [features, embed_dim]: [usize; 2],
        map: Option<[usize; 2]>,
        mut scope: Scope<'_>,
    ) -> Result<Head, ArchitectureError> {
        let pool = timm.pool.as_deref().and_then(Positions::of);
        let pool = pool
            .map(|kind| AttentionPool::declare(scope.child("pool"), kind, map, [features, embed_dim]))
            .transpose()?;
        let features = if pool.is_some() { embed_dim } else { features };
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
        Ok(Head { path: scope.path().to_owned(), pool, projection })
    }

    /// From the trunk's vector or map to the embedding.
    pub(super) fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        let x = match &self.pool {
            Some(pool) => pool.forward(graph, x)?,
            None => x,
        };
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
