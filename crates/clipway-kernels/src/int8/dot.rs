//! The register tile of an int8 product, written once for all paths.

use super::path::Int8Path;
use super::quantize::Quantized;
use super::row_dot::RowDot;
use crate::buffer::Plain;
use crate::isa::{Ahead, Simd};

/// Instructions that multiply groups of int8; a value of the type is proof that the processor has them.
pub(super) trait Dot: RowDot + Copy + Send + Sync + 'static {
    /// The f32 vectors used around the product. A vector of sums has as many lanes.
    type Float: Simd;
    /// A vector of sums.
    type Sums: Copy;
    /// The weights of one vector of outputs for one group of inputs.
    type Weights: Copy;
    /// One group of inputs, for every lane.
    type Group: Copy;
    /// The element type of quantized inputs.
    type Value: Quantized + Plain;
    /// The path.
    const PATH: Int8Path;
    /// Inputs per group.
    const GROUP: usize = Self::PATH.group();

    /// Returns the proof for the f32 vectors.
    fn float(self) -> Self::Float;

    /// Runs a kernel with the instructions enabled.
    fn vectorize<K: DotKernel<Self::Value>>(self, kernel: K);

    /// Returns zeroed sums.
    fn zero(self) -> Self::Sums;

    /// Loads sums.
    ///
    /// # Safety
    /// `place` points to `LANES` readable values.
    #[allow(unsafe_code)]
    unsafe fn load(self, place: *const i32) -> Self::Sums;

    /// Loads weights.
    ///
    /// # Safety
    /// `weights` points to `LANES * GROUP` readable values.
    #[allow(unsafe_code)]
    unsafe fn weights(self, weights: *const i8) -> Self::Weights;

    /// Loads a group of inputs.
    ///
    /// # Safety
    /// `values` points to `GROUP` readable values.
    #[allow(unsafe_code)]
    unsafe fn group(self, values: *const Self::Value) -> Self::Group;

    /// Adds the products of a group, wrapping.
    fn add(self, sums: Self::Sums, group: Self::Group, weights: Self::Weights) -> Self::Sums;

    /// Rounds sums to f32.
    fn floats(self, sums: Self::Sums) -> <Self::Float as Simd>::Vector;

    /// Stores sums.
    ///
    /// # Safety
    /// `place` points to `LANES` writable values.
    #[allow(unsafe_code)]
    unsafe fn store(self, place: *mut i32, sums: Self::Sums);

    /// Subtracts sums, wrapping.
    fn subtract(self, sums: Self::Sums, others: Self::Sums) -> Self::Sums;
}

/// A computation on inputs of one type that compiles for every path taking them; see [`crate::isa::Kernel`].
pub(super) trait DotKernel<T> {
    /// Runs the computation.
    fn run<D: Dot<Value = T>>(self, dot: D);
}

/// `rows x vectors * LANES` sums over `groups` groups of products.
///
/// `a` holds rows `a_stride` apart; `b` holds `[groups, vectors * LANES, GROUP]`.
#[derive(Clone, Copy)]
pub(super) struct DotTile<'a, T> {
    pub(super) ahead: Ahead,
    pub(super) a: &'a [T],
    pub(super) a_stride: usize,
    pub(super) rows: usize,
    pub(super) b: &'a [i8],
    pub(super) vectors: usize,
    pub(super) groups: usize,
}

impl<T: Plain> DotTile<'_, T> {
    /// Writes the sums to `out`, row after row.
    ///
    /// # Panics
    /// If a slice is too short for the sizes, or the tile is larger than the registers hold.
    #[inline(always)]
    pub(super) fn multiply<D: Dot<Value = T>>(self, dot: D, out: &mut [i32]) {
        match self.vectors {
            1 => self.multiply_vectors::<D, 1>(dot, out),
            2 => self.multiply_vectors::<D, 2>(dot, out),
            3 if D::Float::PANEL_VECTORS >= 3 => self.multiply_vectors::<D, 3>(dot, out),
            4 if D::Float::PANEL_VECTORS >= 4 => self.multiply_vectors::<D, 4>(dot, out),
            other => panic!("a tile has 1 to {} vectors, not {other}", D::Float::PANEL_VECTORS),
        }
    }

    #[inline(always)]
    fn multiply_vectors<D: Dot<Value = T>, const V: usize>(self, dot: D, out: &mut [i32]) {
        match self.rows {
            1 => self.multiply_rows::<D, 1, V>(dot, out),
            2 => self.multiply_rows::<D, 2, V>(dot, out),
            3 => self.multiply_rows::<D, 3, V>(dot, out),
            4 => self.multiply_rows::<D, 4, V>(dot, out),
            5 if D::Float::TILE_ROWS >= 5 => self.multiply_rows::<D, 5, V>(dot, out),
            6 if D::Float::TILE_ROWS >= 6 => self.multiply_rows::<D, 6, V>(dot, out),
            7 if D::Float::TILE_ROWS >= 7 => self.multiply_rows::<D, 7, V>(dot, out),
            8 if D::Float::TILE_ROWS >= 8 => self.multiply_rows::<D, 8, V>(dot, out),
            other => panic!("a tile has 1 to {} rows, not {other}", D::Float::TILE_ROWS),
        }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    // Indexed loops, for the same reason as in the f32 tile.
    #[allow(clippy::needless_range_loop)]
    fn multiply_rows<D: Dot<Value = T>, const R: usize, const V: usize>(self, dot: D, out: &mut [i32]) {
        let lanes = D::Float::LANES;
        let (width, depth) = (V * lanes, self.groups * D::GROUP);
        let span = (R - 1).saturating_mul(self.a_stride).saturating_add(depth);
        assert!(self.a.len() >= span, "R rows of A");
        assert!(self.b.len() / width >= depth, "a row of B for every value of a row of A");
        assert!(out.len() >= R * width, "R rows of sums");
        let (a, b) = (self.a.as_ptr(), self.b.as_ptr());
        let mut sums = [[dot.zero(); V]; R];
        for group in 0..self.groups {
            self.ahead.fetch(group);
            // SAFETY: by the asserted lengths, `a` holds R rows of `depth` values, `b` `groups` groups of `width`.
            unsafe {
                let b = b.add(group * width * D::GROUP);
                let mut weights = [dot.weights(b); V];
                for vector in 1..V {
                    weights[vector] = dot.weights(b.add(vector * lanes * D::GROUP));
                }
                for row in 0..R {
                    let values = dot.group(a.add(row * self.a_stride + group * D::GROUP));
                    for vector in 0..V {
                        sums[row][vector] = dot.add(sums[row][vector], values, weights[vector]);
                    }
                }
            }
        }
        for row in 0..R {
            for vector in 0..V {
                // SAFETY: by the asserted length, `out` holds R rows of `width` values.
                unsafe { dot.store(out.as_mut_ptr().add(row * width + vector * lanes), sums[row][vector]) };
            }
        }
    }
}
