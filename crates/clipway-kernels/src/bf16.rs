//! Products with weights in bf16.
//!
//! Where the processor multiplies bf16 fast, inputs are rounded to bf16 too, and pairs of products are added to sums in f32.
//! Elsewhere the weights are widened to f32, exactly, and inputs stay in f32. Epilogues are in f32 either way.

#[cfg(target_arch = "x86_64")]
mod pairs;
mod path;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "x86_64")]
pub(crate) use pairs::{multiply_all, multiply_rows};
pub use path::Bf16Path;
