//! What a tower is: its parameters, declared, and then its operations.

use super::error::ArchitectureError;
use crate::config::ModelConfig;
use crate::graph::{GraphBuilder, GraphError, Scope, ValueId};

/// A kind of tower: which configs ask for it, and how it is made.
pub(super) struct TowerKind {
    pub(super) fits: fn(&ModelConfig) -> bool,
    pub(super) declare: fn(&ModelConfig, Scope<'_>) -> Declared,
}

/// A tower whose parameters are declared, or why they cannot be.
pub(super) type Declared = Result<Box<dyn Tower>, ArchitectureError>;

/// A tower whose parameters are declared.
pub(super) trait Tower {
    /// Adds the tower's operations to a graph and gives the value of its embedding, `[batch, embedding width]`.
    fn forward(&self, graph: &mut GraphBuilder<'_>) -> Result<ValueId, GraphError>;

    /// Height and width of the images that an image tower's tensors are made for, where open_clip takes those of the
    /// config only by `force_image_size`.
    fn changed_from(&self) -> Option<[usize; 2]> {
        None
    }
}
