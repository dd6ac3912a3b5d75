//! What askers give and get: inputs that are accepted or refused, features or failures.

use std::sync::Arc;
use std::time::Duration;

use clipway_run::clip::ClipError;

use super::model::Kind;

/// Features of an input, and how long they took.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The features, `[width]`, as the model gives them.
    pub features: Vec<f32>,
    /// Time in the queue.
    pub queued: Duration,
    /// Time of the batch.
    pub inference: Duration,
}

/// An input has no features.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The model refuses the input.
    #[error("{0}")]
    Input(Arc<ClipError>),
    /// The worker panicked while it ran the batch.
    #[error("the engine failed")]
    Panicked,
    /// The engine stopped before it came to the input.
    #[error("the engine has stopped")]
    Stopped,
}

impl EngineError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            EngineError::Input(error) => error.code(),
            EngineError::Panicked => "internal",
            EngineError::Stopped => "serve-stopping",
        }
    }
}

/// Inputs are not accepted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// They would wait too long.
    #[error("{} would wait about {:.1} s; the limit is {:.1} s", kind.name(), wait.as_secs_f64(), limit.as_secs_f64())]
    Wait {
        /// The kind that would wait.
        kind: Kind,
        /// The estimate.
        wait: Duration,
        /// The limit.
        limit: Duration,
    },
    /// The queue is full.
    #[error("the queue holds {found} {unit} already; the limit is {limit}")]
    Full {
        /// What it is full of: `inputs` or `bytes`.
        unit: &'static str,
        /// What is held.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// The engine stops.
    #[error("the server is stopping")]
    Stopping,
}

impl Refused {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Refused::Wait { .. } => "serve-overloaded",
            Refused::Full { .. } => "serve-full",
            Refused::Stopping => "serve-stopping",
        }
    }
}

/// What a request wants to have accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Number of images.
    pub images: usize,
    /// Number of texts.
    pub texts: usize,
    /// Bytes that they hold while they wait.
    pub bytes: u64,
}
