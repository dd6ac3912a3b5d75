//! The engine as a [`Tower`](crate::tower::Tower), the interface of all backends.

use super::{Engine, EngineError};
use crate::tower::{Intermediate, Tower, TowerBatch, TowerDescription, TowerError};

impl Tower for Engine {
    fn describe(&self) -> TowerDescription {
        let processor = self.processor();
        TowerDescription {
            input: self.input(),
            width: self.width(),
            backend: format!("clipway, {}", processor.instruction_set().name()),
            threads: processor.threads(),
        }
    }

    fn features(&self, batch: TowerBatch<'_>) -> Result<Vec<f32>, TowerError> {
        Ok(match batch {
            TowerBatch::Pixels(pixels) => self.run_pixels(pixels)?,
            TowerBatch::Tokens { ids, length } => self.run_tokens(ids, length)?,
        })
    }

    fn intermediates(&self, batch: TowerBatch<'_>) -> Result<Vec<Intermediate>, TowerError> {
        Ok(match batch {
            TowerBatch::Pixels(pixels) => self.run_pixels_with_blocks(pixels)?.1,
            TowerBatch::Tokens { ids, length } => self.run_tokens_with_blocks(ids, length)?.1,
        })
    }
}

impl From<EngineError> for TowerError {
    fn from(error: EngineError) -> TowerError {
        TowerError::new(error.code(), error)
    }
}
