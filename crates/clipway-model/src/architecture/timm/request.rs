//! What open_clip asks of timm, and what a trunk answers.

use super::super::error::ArchitectureError;
use crate::config::TimmChanges;
use crate::graph::{GraphBuilder, GraphError, ValueId};

/// A trunk whose parameters are declared, or why they cannot be.
pub(super) type DeclaredTrunk = Result<Box<dyn Trunk>, ArchitectureError>;

/// What open_clip asks of timm.
pub(super) struct TrunkRequest<'a> {
    /// The timm name, without a tag.
    pub(super) name: &'a str,
    /// Height and width of the images, in pixels. open_clip tells timm after it has loaded the weights, if at all:
    /// tensors that depend on the size are of the one of the name.
    pub(super) image_size: [usize; 2],
    /// How it pools.
    pub(super) pool: PoolRequest<'a>,
    /// Outputs of the trunk's own classifier; `None` for no classifier.
    pub(super) classifier: Option<usize>,
    /// Whether branches that were trained to be one convolution are one.
    pub(super) folded: bool,
    /// What is not as the name says.
    pub(super) changes: &'a TimmChanges,
}

/// How a trunk is asked to pool, in timm's words (`avg`, `token`, `map`, …).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PoolRequest<'a> {
    /// As it does of itself.
    Default,
    /// In this way from its construction, which may decide on its layers.
    AtConstruction(&'a str),
    /// In this way, set after its construction.
    Afterwards(&'a str),
}

impl<'a> PoolRequest<'a> {
    /// The name that was said, if one was.
    pub(super) fn asked(self) -> Option<&'a str> {
        match self {
            PoolRequest::Default => None,
            PoolRequest::AtConstruction(asked) | PoolRequest::Afterwards(asked) => Some(asked),
        }
    }
}

impl TrunkRequest<'_> {
    /// The pool that is asked for cannot be made.
    pub(super) fn refused_pool(&self, why: impl Into<String>) -> ArchitectureError {
        let asked = self.pool.asked().unwrap_or_default();
        let what = format!("`vision_cfg.timm_pool: {asked}` with the trunk `{}`", self.name);
        ArchitectureError::unsupported(what, why)
    }

    /// A family does not know the name.
    pub(super) fn unknown_trunk(&self) -> ArchitectureError {
        let what = format!("the timm image tower `{}`", self.name);
        ArchitectureError::unsupported(what, "this family has no trunk of that name")
    }

    /// Images of the size that is asked for are not taken.
    pub(super) fn refused_size(&self, why: impl Into<String>) -> ArchitectureError {
        let [height, width] = self.image_size;
        let what = format!("`vision_cfg.image_size` [{height}, {width}] with the trunk `{}`", self.name);
        ArchitectureError::unsupported(what, why)
    }
}

/// A trunk whose parameters are declared.
pub(super) trait Trunk {
    /// Length of the vector that it gives without a classifier; channels of the map, if it does not pool.
    fn features(&self) -> usize;

    /// Height and width of the trunk's last map for images of timm's own size for the name, where it gives a map
    /// with its channels first.
    fn map_size(&self) -> Option<[usize; 2]> {
        None
    }

    /// Height and width of the images that the trunk is made for, where timm has to change it for those that the
    /// config asks for.
    fn changed_from(&self) -> Option<[usize; 2]> {
        None
    }

    /// Adds the trunk's operations, from pixels to a vector `[batch, features or classes]`, or to a map where it
    /// was asked not to pool (`""`).
    fn forward(&self, graph: &mut GraphBuilder<'_>) -> Result<ValueId, GraphError>;
}

/// A timm name without the tag that chooses weights.
pub(super) fn without_tag(name: &str) -> &str {
    name.split_once('.').map_or(name, |(name, _)| name)
}
