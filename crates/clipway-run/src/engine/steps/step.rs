//! An operation, before and after its numbers are read.

use crate::engine::error::EngineError;
use crate::engine::loader::Loader;
use crate::engine::shape::Shape;
use crate::engine::values::Values;

/// What the compiler needs to know about an operation.
pub(in crate::engine) trait Operation {
    /// Whether each row of the result depends only on the same row of the inputs.
    fn is_row_wise(&self) -> bool {
        false
    }

    /// The input whose buffer the result may reuse.
    fn in_place(&self) -> Option<usize> {
        None
    }

    /// Reads and packs the numbers needed for a result of `shape`.
    fn prepare(&self, shape: Shape, loader: &Loader<'_>) -> Prepared;
}

/// A step, or the reason why it cannot be prepared.
pub(in crate::engine) type Prepared = Result<Box<dyn Step>, EngineError>;

/// An operation with its numbers, ready to run.
pub(in crate::engine) trait Step: Send + Sync {
    /// Computes the result for the samples of a batch; `out` has the result's size.
    fn run(&self, values: &Values<'_>, out: &mut [f32]);
}
