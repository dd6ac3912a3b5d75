//! The source of an engine's numbers.

use super::error::WeightError;

/// Named tensors that can be read as f32 from many threads at once.
pub trait Weights: Sync {
    /// Reads tensor `name` into `out` (cleared first), row-major, converted to f32.
    ///
    /// `shape` is the architecture's; an implementation must compare it with the stored one before it allocates
    /// anything.
    ///
    /// # Errors
    /// A missing tensor, another shape, a tensor that is not floating-point, or a failed read.
    fn read(&self, name: &str, shape: &[usize], out: &mut Vec<f32>) -> Result<(), WeightError>;
}
