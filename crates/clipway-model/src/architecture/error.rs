//! Why a config cannot be built.

use clipway_formats::FormatError;

use crate::config::text_model::UnknownTextModel;
use crate::graph::GraphError;

/// A config cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchitectureError {
    /// Config values contradict each other.
    #[error("the config contradicts itself: {0}")]
    Config(FormatError),
    /// Config options lead to shapes that do not match.
    #[error("the config's shapes do not match: {0}")]
    Graph(GraphError),
    /// The config names an unknown text model.
    #[error(transparent)]
    TextModel(#[from] UnknownTextModel),
    /// The config is valid, but asks for something that cannot be built.
    #[error("{what} is not supported: {why}")]
    Unsupported {
        /// What the config asks for.
        what: String,
        /// Why it cannot be built, or what is supported.
        why: String,
    },
}

impl ArchitectureError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            ArchitectureError::Config(cause) => cause.code.name(),
            ArchitectureError::Graph(_) => "shape-mismatch",
            ArchitectureError::TextModel(_) => "unknown-model",
            ArchitectureError::Unsupported { .. } => "unsupported",
        }
    }

    pub(super) fn unsupported(what: impl Into<String>, why: impl Into<String>) -> ArchitectureError {
        ArchitectureError::Unsupported { what: what.into(), why: why.into() }
    }
}

impl From<FormatError> for ArchitectureError {
    fn from(cause: FormatError) -> ArchitectureError {
        ArchitectureError::Config(cause)
    }
}

impl From<GraphError> for ArchitectureError {
    fn from(cause: GraphError) -> ArchitectureError {
        ArchitectureError::Graph(cause)
    }
}
