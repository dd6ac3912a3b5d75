//! How timm's convolutional trunks make one vector of their map, and the classifier after that.

use crate::graph::{GraphBuilder, GraphError, Linear, Pool, Scope, ValueId};

use super::{ArchitectureError, PoolRequest, TrunkRequest};

/// Pools of a map by timm's names. The `fast` ones compute the same.
const NAMES: [(&str, MapPool); 4] =
    [("", MapPool::None), ("avg", MapPool::Mean), ("fast", MapPool::Mean), ("fastavg", MapPool::Mean)];

/// How a map becomes a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MapPool {
    /// Not at all.
    None,
    /// The mean of all places.
    Mean,
}

impl MapPool {
    /// Understands what open_clip asks for, as timm does; `own` is the pool of the trunk itself.
    pub(super) fn resolve(request: &TrunkRequest<'_>, own: MapPool) -> Result<MapPool, ArchitectureError> {
        let asked = match request.pool {
            PoolRequest::Default => return Ok(own),
            PoolRequest::AtConstruction(asked) | PoolRequest::Afterwards(asked) => asked,
        };
        let known = NAMES.iter().find(|(name, _)| asked.eq_ignore_ascii_case(name));
        known.map(|(_, pool)| *pool).ok_or_else(|| {
            let names: Vec<&str> =
                NAMES.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
            let what = format!("`vision_cfg.timm_pool: {asked}` with the trunk `{}`", request.name);
            ArchitectureError::unsupported(what, format!("its pools are {}", names.join(", ")))
        })
    }

    /// `[batch, channels, height, width]` to `[batch, channels]`, or to itself.
    pub(super) fn forward(self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        match self {
            MapPool::None => Ok(x),
            MapPool::Mean => {
                let x = graph.flatten(x)?;
                graph.pool(x, Pool::Mean { skip: 0 }, None)
            }
        }
    }
}

/// timm's `ClassifierHead`: a pool, and the classifier (`fc`) where one was asked for.
pub(super) struct ClassifierHead {
    path: String,
    pool: MapPool,
    classifier: Option<Linear>,
}

impl ClassifierHead {
    pub(super) fn declare(
        mut scope: Scope<'_>,
        request: &TrunkRequest<'_>,
        channels: usize,
        own: MapPool,
    ) -> Result<ClassifierHead, ArchitectureError> {
        let pool = MapPool::resolve(request, own)?;
        let classifier =
            request.classifier.map(|classes| Linear::new(scope.child("fc"), channels, classes, true));
        if pool == MapPool::None && classifier.is_some() {
            let what = format!("`vision_cfg.timm_pool: \"\"` with the classifier of `{}`", request.name);
            return Err(ArchitectureError::unsupported(
                what,
                "the trunk would give a map, and no one vector",
            ));
        }
        Ok(ClassifierHead { path: scope.path().to_owned(), pool, classifier })
    }

    pub(super) fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        let x = self.pool.forward(graph, x)?;
        match &self.classifier {
            Some(classifier) => graph.linear(x, classifier),
            None => Ok(x),
        }
    }
}
