//! Products of int8: weights with a scale an output, inputs quantized row by row as they come.
//!
//! Sums are exact integers, so every path gives the same bits. The result of a row is
//! `(sum as f32) · (row scale · output scale)`, and then the epilogue, in f32.

mod conv;
mod dot;
mod linear;
mod pack;
mod path;
mod portable;
mod quantize;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use conv::Int8Rows;
pub use pack::{PackedInt8, PackedInt8Builder};
pub use path::Int8Path;
pub use quantize::quantize_weights;

/// Most inputs of a product: with more, a sum of the largest products leaves 32 bits.
pub const MOST_INT8_INPUTS: usize = (i32::MAX / (128 * 128)) as usize;
