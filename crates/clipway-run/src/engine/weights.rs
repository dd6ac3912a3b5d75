//! Where an engine's numbers come from.

use super::error::WeightError;

/// Named tensors that can be read as f32, from many threads at once.
pub trait Weights: Sync {
    /// Reads tensor `name` into `out` (cleared first), row-major, converted to f32.
    ///
    /// `shape` is what the architecture needs; an implementation compares it with what it has before it
    /// allocates anything.
    ///
    /// # Errors
    /// No such tensor, another shape, not floating-point numbers, or a failed read.
    fn read(&self, name: &str, shape: &[usize], out: &mut Vec<f32>) -> Result<(), WeightError>;
}
