//! The vector operations that all kernels are written in, once for all instruction sets.

use super::Isa;
use super::byte_sums::ByteSums;
use half::bf16;

/// A computation that can be compiled for any instruction set.
///
/// `run` and everything in its hot path must be `#[inline(always)]`: only code inlined into [`Simd::vectorize`] is
/// compiled for the instruction set.
pub(crate) trait Kernel {
    /// What the computation returns.
    type Output;

    /// Runs the computation on the vectors of `S`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// An instruction set; a value of the type is proof that the processor has it.
pub(crate) trait Simd: ByteSums + Send + Sync + 'static {
    /// A vector of `LANES` f32.
    type Vector: Copy;
    /// The outcome of a comparison, lane by lane.
    type Mask: Copy;
    /// The instruction set.
    const ISA: Isa;
    /// The number of lanes.
    const LANES: usize = Self::ISA.lanes();
    /// The rows of the register tile of a matrix product.
    const TILE_ROWS: usize = Self::ISA.tile_rows();
    /// The vectors per row of the register tile, and so of a panel of packed weights.
    const PANEL_VECTORS: usize = Self::ISA.panel_vectors();

    /// Runs a kernel with the instruction set enabled.
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output;

    /// Returns a vector with `value` in every lane.
    fn splat(self, value: f32) -> Self::Vector;
    /// Loads the first `LANES` values; panics if there are fewer.
    fn load(self, values: &[f32]) -> Self::Vector;
    /// Loads up to `LANES` values; the other lanes are `fill`.
    fn load_part(self, values: &[f32], fill: f32) -> Self::Vector;
    /// Stores to the first `LANES` places; panics if there are fewer.
    fn store(self, values: &mut [f32], vector: Self::Vector);
    /// Stores the first lanes to `values`, at most `LANES`.
    fn store_part(self, values: &mut [f32], vector: Self::Vector);
    /// Loads `LANES` values from memory.
    ///
    /// # Safety
    /// `values` points to at least `LANES` readable values.
    #[allow(unsafe_code)]
    unsafe fn load_pointer(self, values: *const f32) -> Self::Vector;
    /// Loads `LANES` bf16 from memory, widened to f32.
    ///
    /// # Safety
    /// `values` points to at least `LANES` readable values.
    #[allow(unsafe_code)]
    unsafe fn load_bf16_pointer(self, values: *const bf16) -> Self::Vector;
    /// Stores `LANES` values to memory.
    ///
    /// # Safety
    /// `values` points to at least `LANES` writable values.
    #[allow(unsafe_code)]
    unsafe fn store_pointer(self, values: *mut f32, vector: Self::Vector);

    /// Returns `a + b`.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Returns `a - b`.
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Returns `a * b`.
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Returns `a / b`.
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Returns `a * b + c`, rounded once if the instruction set can.
    fn fma(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// Returns `a` where `a > b`, else `b` (so `b` where either is NaN).
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Returns `a` where `a < b`, else `b` (so `b` where either is NaN).
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Returns the absolute values.
    fn abs(self, a: Self::Vector) -> Self::Vector;
    /// Rounds to the nearest integers, ties to even.
    fn round(self, a: Self::Vector) -> Self::Vector;
    /// Returns `a * 2^n` for integral `n` in -252..=254, with gradual underflow.
    fn scale(self, a: Self::Vector, n: Self::Vector) -> Self::Vector;
    /// Compares `a < b`; false where either is NaN.
    fn less(self, a: Self::Vector, b: Self::Vector) -> Self::Mask;
    /// Returns which lanes are NaN.
    fn is_nan(self, a: Self::Vector) -> Self::Mask;
    /// Returns `a` where the mask holds, else `b`.
    fn select(self, mask: Self::Mask, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Returns the sum of the lanes.
    fn sum(self, a: Self::Vector) -> f32;
    /// Returns the greatest lane.
    fn max_lane(self, a: Self::Vector) -> f32;
}

/// Loads a whole or partial vector; the other lanes are zero.
#[inline(always)]
pub(crate) fn load<S: Simd>(simd: S, values: &[f32]) -> S::Vector {
    load_filled(simd, values, 0.0)
}

/// Loads a whole or partial vector; the other lanes are `fill`.
#[inline(always)]
pub(crate) fn load_filled<S: Simd>(simd: S, values: &[f32], fill: f32) -> S::Vector {
    if values.len() >= S::LANES { simd.load(values) } else { simd.load_part(values, fill) }
}

/// Stores a whole or partial vector.
#[inline(always)]
pub(crate) fn store<S: Simd>(simd: S, values: &mut [f32], vector: S::Vector) {
    if values.len() >= S::LANES { simd.store(values, vector) } else { simd.store_part(values, vector) }
}
