//! Int8 products: weights with a scale per output, inputs quantized row by row on the fly.
//!
//! Sums are exact integers, so all paths produce the same bits. A result is
//! `(sum as f32) · (row scale · output scale)`, followed by the epilogue in f32.

#[cfg(target_arch = "aarch64")]
mod arm;
mod dot;
mod linear;
mod pack;
mod path;
mod portable;
mod quantize;
mod row_dot;
mod scan;
#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
mod x86_rows;

pub use pack::{PackedInt8, PackedInt8Builder};
pub use path::Int8Path;
pub use quantize::quantize_weights;
pub use scan::{RowScores, ScanQueries};

/// Most inputs of a product; beyond this, the largest possible sum overflows 32 bits.
pub const MOST_INT8_INPUTS: usize = (i32::MAX / (128 * 128)) as usize;
