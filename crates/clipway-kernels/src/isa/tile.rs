//! The register tile of a matrix product: a few rows of A times one panel of packed B.

use super::simd::Simd;
use crate::buffer::{LINE, prefetch};
use half::bf16;
use std::marker::PhantomData;

/// Rows of the largest tile, AVX-512's.
pub(crate) const MAX_TILE_ROWS: usize = 8;

/// Values of the largest tile, 8 x 48 with AVX-512.
pub(crate) const MAX_TILE: usize = MAX_TILE_ROWS * 48;

/// Products added up in registers before joining the sum in memory.
///
/// Blocks keep the rounding error of long sums close to pairwise summation, at the cost of one more addition in 256.
const BLOCK: usize = 256;

/// A number that loads into f32 vectors exactly.
pub(crate) trait Widen: Copy {
    /// Loads `LANES` values from memory.
    ///
    /// # Safety
    /// `values` points to at least `LANES` readable values.
    #[allow(unsafe_code)]
    unsafe fn load_pointer<S: Simd>(simd: S, values: *const Self) -> S::Vector;
}

#[allow(unsafe_code)]
impl Widen for f32 {
    #[inline(always)]
    unsafe fn load_pointer<S: Simd>(simd: S, values: *const f32) -> S::Vector {
        // SAFETY: the caller promises the values.
        unsafe { simd.load_pointer(values) }
    }
}

#[allow(unsafe_code)]
impl Widen for bf16 {
    #[inline(always)]
    unsafe fn load_pointer<S: Simd>(simd: S, values: *const bf16) -> S::Vector {
        // SAFETY: the caller promises the values.
        unsafe { simd.load_bf16_pointer(values) }
    }
}

/// How a tile multiplies. A step takes a group of neighboring values of a row of A, and the row of B's columns for them.
pub(crate) trait Multiply: Copy {
    /// The vectors of the sums.
    type Simd: Simd;
    /// The elements of A.
    type A: Copy;
    /// The elements of B.
    type B: Copy;
    /// A group of values of A, for every lane.
    type Group: Copy;
    /// A vector of columns of B for one group.
    type Columns: Copy;
    /// Values in a group.
    const GROUP: usize;

    /// Returns the proof for the vectors of the sums.
    fn simd(self) -> Self::Simd;

    /// Loads a group of values of A.
    ///
    /// # Safety
    /// `a` points to `GROUP` readable values.
    #[allow(unsafe_code)]
    unsafe fn group(self, a: *const Self::A) -> Self::Group;

    /// Loads columns of B.
    ///
    /// # Safety
    /// `b` points to `LANES * GROUP` readable values.
    #[allow(unsafe_code)]
    unsafe fn columns(self, b: *const Self::B) -> Self::Columns;

    /// Adds the products of a group to the sums.
    fn add(self, sums: Vector<Self>, group: Self::Group, columns: Self::Columns) -> Vector<Self>;
}

/// A vector of sums.
pub(crate) type Vector<M> = <<M as Multiply>::Simd as Simd>::Vector;

/// Products in f32, value by value, with a B of `E`.
pub(crate) struct Widening<S, E>(S, PhantomData<E>);

impl<S, E> Widening<S, E> {
    /// Multiplies with an instruction set.
    #[inline(always)]
    pub(crate) fn with(simd: S) -> Self {
        Self(simd, PhantomData)
    }
}

impl<S: Copy, E> Clone for Widening<S, E> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Copy, E> Copy for Widening<S, E> {}

#[allow(unsafe_code)]
impl<S: Simd, E: Widen> Multiply for Widening<S, E> {
    type Simd = S;
    type A = f32;
    type B = E;
    type Group = S::Vector;
    type Columns = S::Vector;
    const GROUP: usize = 1;

    #[inline(always)]
    fn simd(self) -> S {
        self.0
    }

    #[inline(always)]
    unsafe fn group(self, a: *const f32) -> S::Vector {
        // SAFETY: the caller promises the value.
        self.0.splat(unsafe { *a })
    }

    #[inline(always)]
    unsafe fn columns(self, b: *const E) -> S::Vector {
        // SAFETY: the caller promises the values.
        unsafe { E::load_pointer(self.0, b) }
    }

    #[inline(always)]
    fn add(self, sums: S::Vector, value: S::Vector, columns: S::Vector) -> S::Vector {
        self.0.fma(value, columns, sums)
    }
}

/// What is fetched into the cache meanwhile, a line with each row of B: what is multiplied next.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    first: *const u8,
    step: usize,
}

impl Ahead {
    /// The lines of `next` from this one on. Past its last line, nothing new.
    #[inline(always)]
    pub(crate) fn of<E>(next: &[E], line: usize) -> Ahead {
        let fetched = Ahead::nothing(next);
        if line < size_of_val(next).div_ceil(LINE) {
            Ahead { first: fetched.first.wrapping_add(line * LINE), step: LINE }
        } else {
            fetched
        }
    }

    /// Nothing new: the first line of values that are in the cache.
    #[inline(always)]
    pub(crate) fn nothing<E>(fetched: &[E]) -> Ahead {
        Ahead { first: fetched.as_ptr().cast(), step: 0 }
    }

    /// Asks for the line of a row of B.
    #[inline(always)]
    pub(crate) fn fetch(self, step: usize) {
        // An address past the end does no harm, since nothing is read.
        prefetch(self.first.wrapping_add(step * self.step));
    }
}

/// `rows x vectors * LANES` sums of `depth` products each.
///
/// `a` holds rows `a_stride` apart; `b` holds a row of `vectors * LANES` columns for each group of `depth` values, one after
/// another, and in it the values of a group side by side.
#[derive(Clone, Copy)]
pub(crate) struct Tile<'a, A, B> {
    pub(crate) ahead: Ahead,
    pub(crate) a: &'a [A],
    pub(crate) a_stride: usize,
    pub(crate) rows: usize,
    pub(crate) b: &'a [B],
    pub(crate) vectors: usize,
    /// Whole groups.
    pub(crate) depth: usize,
}

impl<A: Copy, B: Copy> Tile<'_, A, B> {
    /// Writes the sums to `out`, whose rows are `out_stride` apart.
    ///
    /// # Panics
    /// If a slice is too short for the sizes, or the tile is larger than the registers hold.
    #[inline(always)]
    pub(crate) fn multiply<M: Multiply<A = A, B = B>>(self, with: M, out: &mut [f32], out_stride: usize) {
        match self.vectors {
            1 => self.multiply_vectors::<M, 1>(with, out, out_stride),
            2 => self.multiply_vectors::<M, 2>(with, out, out_stride),
            3 if M::Simd::PANEL_VECTORS >= 3 => self.multiply_vectors::<M, 3>(with, out, out_stride),
            4 if M::Simd::PANEL_VECTORS >= 4 => self.multiply_vectors::<M, 4>(with, out, out_stride),
            other => panic!("a tile has 1 to {} vectors, not {other}", M::Simd::PANEL_VECTORS),
        }
    }

    #[inline(always)]
    fn multiply_vectors<M: Multiply<A = A, B = B>, const V: usize>(
        self,
        with: M,
        out: &mut [f32],
        out_stride: usize,
    ) {
        match self.rows {
            1 => self.multiply_rows::<M, 1, V>(with, out, out_stride),
            2 => self.multiply_rows::<M, 2, V>(with, out, out_stride),
            3 => self.multiply_rows::<M, 3, V>(with, out, out_stride),
            4 => self.multiply_rows::<M, 4, V>(with, out, out_stride),
            5 if M::Simd::TILE_ROWS >= 5 => self.multiply_rows::<M, 5, V>(with, out, out_stride),
            6 if M::Simd::TILE_ROWS >= 6 => self.multiply_rows::<M, 6, V>(with, out, out_stride),
            7 if M::Simd::TILE_ROWS >= 7 => self.multiply_rows::<M, 7, V>(with, out, out_stride),
            8 if M::Simd::TILE_ROWS >= 8 => self.multiply_rows::<M, 8, V>(with, out, out_stride),
            other => panic!("a tile has 1 to {} rows, not {other}", M::Simd::TILE_ROWS),
        }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn multiply_rows<M: Multiply<A = A, B = B>, const R: usize, const V: usize>(
        self,
        with: M,
        out: &mut [f32],
        out_stride: usize,
    ) {
        let simd = with.simd();
        let width = V * M::Simd::LANES;
        let span = |stride: usize, columns: usize| (R - 1).saturating_mul(stride).saturating_add(columns);
        assert!(self.depth.is_multiple_of(M::GROUP), "whole groups");
        assert!(self.a.len() >= span(self.a_stride, self.depth), "R rows of A");
        assert!(self.b.len() / width >= self.depth, "a row of B for every value of a row of A");
        assert!(out_stride >= width && out.len() >= span(out_stride, width), "R rows of sums");
        let mut start = 0;
        loop {
            let depth = BLOCK.min(self.depth - start);
            let (groups, first) = (depth / M::GROUP, start / M::GROUP);
            // SAFETY: by the asserted lengths, `a` holds R rows of `self.depth` values, `b` holds `self.depth` rows of
            // `width`, and `out` holds R rows of `width`; `start + depth <= self.depth`.
            unsafe {
                let a = self.a.as_ptr().add(start);
                let b = self.b.as_ptr().add(start * width);
                let sums = block::<M, R, V>(with, a, self.a_stride, b, groups, self.ahead, first);
                for (row, sums) in sums.iter().enumerate() {
                    for (column, &sum) in sums.iter().enumerate() {
                        let place = out.as_mut_ptr().add(row * out_stride + column * M::Simd::LANES);
                        let before = if start == 0 { simd.splat(0.0) } else { simd.load_pointer(place) };
                        simd.store_pointer(place, simd.add(before, sum));
                    }
                }
            }
            start += depth;
            if start == self.depth {
                return;
            }
        }
    }
}

/// Returns the sums over `groups` groups, held in registers throughout.
///
/// # Safety
/// `a` points to R rows of `groups * GROUP` values, `a_stride` apart, and `b` to `groups * GROUP * V * LANES` values.
#[inline(always)]
#[allow(unsafe_code)]
// Indexed loops, with `columns` outside, because then the compiler keeps everything in registers; with iterators, or
// with `columns` inside, AVX-512 ran ten times slower.
#[allow(clippy::needless_range_loop)]
unsafe fn block<M: Multiply, const R: usize, const V: usize>(
    with: M,
    a: *const M::A,
    a_stride: usize,
    b: *const M::B,
    groups: usize,
    ahead: Ahead,
    first: usize,
) -> [[Vector<M>; V]; R] {
    let lanes = M::Simd::LANES * M::GROUP;
    let mut sums = [[with.simd().splat(0.0); V]; R];
    for step in 0..groups {
        ahead.fetch(first + step);
        // SAFETY: `step < groups`, and the caller promises the values at these places.
        unsafe {
            let b = b.add(step * V * lanes);
            let mut columns = [with.columns(b); V];
            for vector in 1..V {
                columns[vector] = with.columns(b.add(vector * lanes));
            }
            for row in 0..R {
                let group = with.group(a.add(row * a_stride + step * M::GROUP));
                for vector in 0..V {
                    sums[row][vector] = with.add(sums[row][vector], group, columns[vector]);
                }
            }
        }
    }
    sums
}
