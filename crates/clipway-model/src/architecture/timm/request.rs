//! What open_clip asks of timm, and what a trunk returns.

use super::super::error::ArchitectureError;
use crate::config::TimmChanges;
use crate::graph::{GraphBuilder, GraphError, ValueId};

/// A trunk with its parameters declared, or the reason why it cannot be built.
pub(super) type DeclaredTrunk = Result<Box<dyn Trunk>, ArchitectureError>;

/// A request from open_clip to timm.
pub(super) struct TrunkRequest<'a> {
    /// The timm name, without a tag.
    pub(super) name: &'a str,
    /// Height and width of the images, in pixels. open_clip sets them only after loading the weights, if at all:
    /// tensors that depend on the size follow the name's own size.
    pub(super) image_size: [usize; 2],
    /// How the trunk pools.
    pub(super) pool: PoolRequest<'a>,
    /// Outputs of the trunk's own classifier; `None` for no classifier.
    pub(super) classifier: Option<usize>,
    /// Whether training branches are folded into one convolution.
    pub(super) folded: bool,
    /// Differences from the named model.
    pub(super) changes: &'a TimmChanges,
}

/// The requested pooling, in timm's words (`avg`, `token`, `map`, …).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PoolRequest<'a> {
    /// The trunk's default.
    Default,
    /// This pool, set at construction, where it may affect the layers.
    AtConstruction(&'a str),
    /// This pool, set after construction.
    Afterwards(&'a str),
}

impl<'a> PoolRequest<'a> {
    /// The requested name, if any.
    pub(super) fn asked(self) -> Option<&'a str> {
        match self {
            PoolRequest::Default => None,
            PoolRequest::AtConstruction(asked) | PoolRequest::Afterwards(asked) => Some(asked),
        }
    }
}

impl TrunkRequest<'_> {
    /// Error: the requested pool cannot be built.
    pub(super) fn refused_pool(&self, why: impl Into<String>) -> ArchitectureError {
        let asked = self.pool.asked().unwrap_or_default();
        let what = format!("`vision_cfg.timm_pool: {asked}` with the trunk `{}`", self.name);
        ArchitectureError::unsupported(what, why)
    }

    /// Error: the family does not know the name.
    pub(super) fn unknown_trunk(&self) -> ArchitectureError {
        let what = format!("the timm image tower `{}`", self.name);
        ArchitectureError::unsupported(what, "this family has no trunk with that name")
    }

    /// Error: the requested image size is not supported.
    pub(super) fn refused_size(&self, why: impl Into<String>) -> ArchitectureError {
        let [height, width] = self.image_size;
        let what = format!("`vision_cfg.image_size` [{height}, {width}] with the trunk `{}`", self.name);
        ArchitectureError::unsupported(what, why)
    }
}

/// A trunk with its parameters declared.
pub(super) trait Trunk {
    /// Length of its output vector without a classifier; channels of the map, if it does not pool.
    fn features(&self) -> usize;

    /// Height and width of the trunk's last map for images of timm's default size, if the map is channels-first.
    fn map_size(&self) -> Option<[usize; 2]> {
        None
    }

    /// Height and width of the images that the trunk was made for, if timm has to change it for the config's image
    /// size.
    fn changed_from(&self) -> Option<[usize; 2]> {
        None
    }

    /// Adds the trunk's operations, from pixels to a vector `[batch, features or classes]`, or to a map if asked not to
    /// pool (`""`).
    fn forward(&self, graph: &mut GraphBuilder<'_>) -> Result<ValueId, GraphError>;
}

/// A timm name without the tag that selects weights.
pub(super) fn without_tag(name: &str) -> &str {
    name.split_once('.').map_or(name, |(name, _)| name)
}
