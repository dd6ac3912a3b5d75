//! A tower: its declared parameters, then its operations.

use super::error::ArchitectureError;
use crate::config::ModelConfig;
use crate::graph::{GraphBuilder, GraphError, Scope, ValueId};

/// A kind of tower: which configs ask for it, and how to build it.
pub(super) struct TowerKind {
    pub(super) fits: fn(&ModelConfig) -> bool,
    pub(super) declare: fn(&ModelConfig, Scope<'_>) -> Declared,
}

/// A tower with its parameters declared, or the reason why it cannot be built.
pub(super) type Declared = Result<Box<dyn Tower>, ArchitectureError>;

/// A tower with its parameters declared.
pub(super) trait Tower {
    /// Adds the tower's operations to a graph and returns the value of its embedding, `[batch, embedding width]`.
    fn forward(&self, graph: &mut GraphBuilder<'_>) -> Result<ValueId, GraphError>;

    /// Height and width of the images that an image tower's tensors were made for, where open_clip needs
    /// `force_image_size` to use the config's size.
    fn changed_from(&self) -> Option<[usize; 2]> {
        None
    }
}
