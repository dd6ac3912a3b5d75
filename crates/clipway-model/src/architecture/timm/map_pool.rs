//! How timm's convolutional trunks make one vector of their map, and the classifier after that.

use crate::graph::{Activation, Conv2d, GraphBuilder, GraphError, LayerNorm, Linear, Pool, Scope, ValueId};

use super::{ArchitectureError, PoolRequest, TrunkRequest};

/// Pools of a map by timm's names. The `fast` ones compute the same.
const NAMES: [(&str, MapPool); 8] = [
    ("", MapPool::None),
    ("avg", MapPool::Mean),
    ("max", MapPool::Max),
    ("avgmax", MapPool::MeanMax),
    ("fast", MapPool::Mean),
    ("fastavg", MapPool::Mean),
    ("fastmax", MapPool::Max),
    ("fastavgmax", MapPool::MeanMax),
];

/// How a map becomes a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MapPool {
    /// Not at all.
    None,
    /// The mean of all places.
    Mean,
    /// The largest of each channel, over all places.
    Max,
    /// Half the sum of mean and largest.
    MeanMax,
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
        let pool = match self {
            MapPool::None => return Ok(x),
            MapPool::Mean => Pool::Mean { skip: 0 },
            MapPool::Max => Pool::Max { skip: 0 },
            MapPool::MeanMax => Pool::MeanMax { skip: 0 },
        };
        let x = graph.flatten(x)?;
        graph.pool(x, pool, None)
    }
}

/// timm's `ClassifierHead`: a pool, and the classifier (`fc`) where one was asked for.
pub(super) struct ClassifierHead {
    path: String,
    pool: MapPool,
    classifier: Option<Linear>,
}

/// The classifier's tensors, where there is one. One after no pool would give a map.
fn declare_classifier(
    scope: &mut Scope<'_>,
    request: &TrunkRequest<'_>,
    pool: MapPool,
    inputs: usize,
) -> Result<Option<Linear>, ArchitectureError> {
    if pool == MapPool::None && request.classifier.is_some() {
        let what = format!("`vision_cfg.timm_pool: \"\"` with the classifier of `{}`", request.name);
        return Err(ArchitectureError::unsupported(what, "the trunk would give a map, and no one vector"));
    }
    Ok(request.classifier.map(|classes| Linear::new(scope.child("fc"), inputs, classes, true)))
}

impl ClassifierHead {
    pub(super) fn declare(
        mut scope: Scope<'_>,
        request: &TrunkRequest<'_>,
        channels: usize,
        own: MapPool,
    ) -> Result<ClassifierHead, ArchitectureError> {
        let pool = MapPool::resolve(request, own)?;
        let classifier = declare_classifier(&mut scope, request, pool, channels)?;
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

/// timm's `NormMlpClassifierHead`: a pool of means, a norm, a layer, and the classifier; the latter two where they
/// were asked for.
pub(super) struct NormHead {
    path: String,
    pool: MapPool,
    norm: LayerNorm,
    hidden: Option<Hidden>,
    classifier: Option<Linear>,
}

/// What a [`NormHead`] is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct NormHeadOptions {
    pub(super) channels: usize,
    /// Width of the layer after the norm.
    pub(super) hidden: Option<usize>,
    pub(super) epsilon: f64,
}

/// A layer of vectors, or of the places of a map.
enum Hidden {
    Linear(Linear),
    Conv(Conv2d),
}

impl NormHead {
    pub(super) fn declare(
        mut scope: Scope<'_>,
        request: &TrunkRequest<'_>,
        options: NormHeadOptions,
    ) -> Result<NormHead, ArchitectureError> {
        let NormHeadOptions { channels, hidden, epsilon } = options;
        let pool = MapPool::resolve(request, MapPool::Mean)?;
        let norm = LayerNorm::new(scope.child("norm"), channels, true, epsilon);
        let layer = hidden.map(|hidden| {
            let scope = scope.child("pre_logits.fc");
            if pool == MapPool::None {
                Hidden::Conv(Conv2d::with_bias(scope, channels, hidden, [1, 1]))
            } else {
                Hidden::Linear(Linear::new(scope, channels, hidden, true))
            }
        });
        let classifier = declare_classifier(&mut scope, request, pool, hidden.unwrap_or(channels))?;
        Ok(NormHead { path: scope.path().to_owned(), pool, norm, hidden: layer, classifier })
    }

    pub(super) fn forward(&self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        graph.scope(self.path.as_str());
        let x = self.pool.forward(graph, x)?;
        let mut x = graph.layer_norm(x, &self.norm)?;
        if let Some(hidden) = &self.hidden {
            x = match hidden {
                Hidden::Linear(linear) => graph.linear(x, linear)?,
                Hidden::Conv(conv) => graph.conv2d(x, conv)?,
            };
            x = graph.activation(x, Activation::Gelu);
        }
        match &self.classifier {
            Some(classifier) => graph.linear(x, classifier),
            None => Ok(x),
        }
    }
}
