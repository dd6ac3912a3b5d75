//! How timm's convolutional trunks pool their map, and the classifier that follows.

use crate::graph::{Activation, Conv2d, GraphBuilder, GraphError, LayerNorm, Linear, Pool, Scope, ValueId};

use super::super::error::ArchitectureError;
use super::request::{PoolRequest, TrunkRequest};

/// Map pools by timm's name. The `fast` ones compute the same.
const NAMES: [(&str, MapPool); 10] = [
    ("", MapPool::None),
    ("avg", MapPool::Mean),
    ("max", MapPool::Max),
    ("avgmax", MapPool::MeanMax),
    ("catavgmax", MapPool::MeanAndMax),
    ("fast", MapPool::Mean),
    ("fastavg", MapPool::Mean),
    ("fastmax", MapPool::Max),
    ("fastavgmax", MapPool::MeanMax),
    ("fastcatavgmax", MapPool::MeanAndMax),
];

/// How a map becomes a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MapPool {
    /// No pooling.
    None,
    /// The mean of all places.
    Mean,
    /// The maximum of each channel over all places.
    Max,
    /// Half the sum of mean and maximum.
    MeanMax,
    /// Mean and maximum, concatenated: twice as many values as channels.
    MeanAndMax,
}

impl MapPool {
    /// Interprets open_clip's request as timm does; `own` is the trunk's default pool.
    pub(super) fn resolve(request: &TrunkRequest<'_>, own: MapPool) -> Result<MapPool, ArchitectureError> {
        let Some(asked) = request.pool.asked() else { return Ok(own) };
        let known = NAMES.iter().find(|(name, _)| asked.eq_ignore_ascii_case(name));
        let Some(&(name, pool)) = known else {
            let names: Vec<&str> =
                NAMES.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
            return Err(request.refused_pool(format!("its pools are {}", names.join(", "))));
        };
        if pool == MapPool::MeanAndMax {
            // timm doubles the width only for the exact name, and open_clip asks the trunk for its channel count.
            if name != asked {
                return Err(request
                    .refused_pool(format!("timm doubles the width only for the exact spelling `{name}`")));
            }
            if matches!(request.pool, PoolRequest::Afterwards(_)) {
                let why = "it gives two values per channel, and open_clip's projection expects one: leave \
                           `timm_proj` empty";
                return Err(request.refused_pool(why));
            }
        }
        Ok(pool)
    }

    /// The pool of the map's places.
    fn pool(self) -> Option<Pool> {
        match self {
            MapPool::None => None,
            MapPool::Mean => Some(Pool::Mean { skip: 0 }),
            MapPool::Max => Some(Pool::Max { skip: 0 }),
            MapPool::MeanMax => Some(Pool::MeanMax { skip: 0 }),
            MapPool::MeanAndMax => Some(Pool::MeanAndMax { skip: 0 }),
        }
    }

    /// Values of the vector per channel of the map.
    fn values(self) -> usize {
        self.pool().map_or(1, Pool::tokens_wide)
    }

    /// `[batch, channels, height, width]` to `[batch, values]`, or unchanged.
    pub(super) fn forward(self, graph: &mut GraphBuilder<'_>, x: ValueId) -> Result<ValueId, GraphError> {
        let Some(pool) = self.pool() else { return Ok(x) };
        let x = graph.flatten(x)?;
        graph.pool(x, pool, None)
    }
}

/// timm's `ClassifierHead`: a pool, and the classifier (`fc`) if requested.
pub(super) struct ClassifierHead {
    path: String,
    pool: MapPool,
    features: usize,
    classifier: Option<Linear>,
}

/// The classifier's tensors, if any. A classifier without a pool would output a map.
fn declare_classifier(
    scope: &mut Scope<'_>,
    request: &TrunkRequest<'_>,
    pool: MapPool,
    inputs: usize,
) -> Result<Option<Linear>, ArchitectureError> {
    if pool == MapPool::None && request.classifier.is_some() {
        return Err(request.refused_pool("its classifier would output a map instead of one vector"));
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
        let features = channels * pool.values();
        let classifier = declare_classifier(&mut scope, request, pool, features)?;
        Ok(ClassifierHead { path: scope.path().to_owned(), pool, features, classifier })
    }

    /// Length of the pooled vector; without pooling, channels of the map.
    pub(super) fn features(&self) -> usize {
        self.features
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

/// timm's `NormMlpClassifierHead`: a mean pool, a norm, and, if requested, a layer and the classifier.
pub(super) struct NormHead {
    path: String,
    pool: MapPool,
    features: usize,
    norm: LayerNorm,
    hidden: Option<Hidden>,
    classifier: Option<Linear>,
}

/// Settings of a [`NormHead`].
#[derive(Clone, Copy, Debug)]
pub(super) struct NormHeadOptions {
    pub(super) channels: usize,
    /// Width of the layer after the norm.
    pub(super) hidden: Option<usize>,
    pub(super) epsilon: f64,
}

/// A layer applied to vectors, or to the places of a map.
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
        if pool == MapPool::MeanAndMax {
            return Err(request.refused_pool("timm's norm after the pool takes one value per channel"));
        }
        let norm = LayerNorm::new(scope.child("norm"), channels, true, epsilon);
        let layer = hidden.map(|hidden| {
            let scope = scope.child("pre_logits.fc");
            if pool == MapPool::None {
                Hidden::Conv(Conv2d::with_bias(scope, channels, hidden, [1, 1]))
            } else {
                Hidden::Linear(Linear::new(scope, channels, hidden, true))
            }
        });
        let features = hidden.unwrap_or(channels);
        let classifier = declare_classifier(&mut scope, request, pool, features)?;
        Ok(NormHead { path: scope.path().to_owned(), pool, features, norm, hidden: layer, classifier })
    }

    /// Length of the vector before the classifier; without pooling, channels of the map.
    pub(super) fn features(&self) -> usize {
        self.features
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
