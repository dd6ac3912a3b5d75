//! CPU kernels: matrix products with packed weights, attention, convolution and related operations.
//!
//! [`Kernels`] combines an instruction set ([`Isa`]) and a thread pool; its methods are the operations. Each is written
//! once, over generic vectors, and compiled for AVX-512, for AVX2 with FMA, for NEON and in plain Rust. The caller picks the
//! instruction set when creating `Kernels`, so that each can be forced and tested.
//!
//! The result for a row depends only on that row, not on the number of threads or the rest of the batch.
//!
//! Every operation checks the lengths of its slices and panics on a mismatch: sizes come from the caller's own
//! arithmetic, never from input.
//!
//! ```
//! use clipway_kernels::{Isa, Kernels};
//!
//! let kernels = Kernels::new(Isa::detect(), 2)?;
//! assert_eq!(kernels.threads(), 2);
//! # Ok::<(), clipway_kernels::KernelsError>(())
//! ```

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod activation;
mod attention;
mod bf16;
mod buffer;
mod conv;
mod depthwise;
mod elementwise;
mod epilogue;
mod int8;
mod isa;
mod linear;
mod math;
mod matrix;
mod norm;
mod pack;
mod pool;
mod product;
mod resize;
mod rotary;
mod threads;
mod window;
mod winograd;

pub use activation::Activation;
pub use attention::{AttentionBias, AttentionSpec, Sequence};
pub use bf16::Bf16Path;
pub use conv::PackedConv;
pub use epilogue::{Epilogue, Residual};
pub use int8::{
    Int8Path, MOST_INT8_INPUTS, PackedInt8, PackedInt8Builder, RowScores, ScanQueries, quantize_weights,
};
pub use isa::Isa;
pub use matrix::{Matrix, MatrixMut};
pub use pack::{Element, PackedMatrix, PackedMatrixBuilder, PanelElement, WeightLayout};
pub use resize::{ByteTaps, resize_columns, resize_rows};
pub use rotary::Rotary;
pub use threads::{Kernels, KernelsError};
pub use window::{Image, Window};
