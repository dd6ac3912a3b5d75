//! The register tile of a matrix product: a few rows of A times one panel of packed B.

use super::simd::Simd;
use crate::buffer::{LINE, prefetch};
use half::bf16;

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
/// `a` holds rows `a_stride` apart; `b` holds `depth` rows of `vectors * LANES` columns, one after another.
#[derive(Clone, Copy)]
pub(crate) struct Tile<'a, E> {
    pub(crate) ahead: Ahead,
    pub(crate) a: &'a [f32],
    pub(crate) a_stride: usize,
    pub(crate) rows: usize,
    pub(crate) b: &'a [E],
    pub(crate) vectors: usize,
    pub(crate) depth: usize,
}

impl<E: Widen> Tile<'_, E> {
    /// Writes the sums to `out`, whose rows are `out_stride` apart.
    ///
    /// # Panics
    /// If a slice is too short for the sizes, or the tile is larger than the registers hold.
    #[inline(always)]
    pub(crate) fn multiply<S: Simd>(self, simd: S, out: &mut [f32], out_stride: usize) {
        match self.vectors {
            1 => self.multiply_vectors::<S, 1>(simd, out, out_stride),
            2 => self.multiply_vectors::<S, 2>(simd, out, out_stride),
            3 if S::PANEL_VECTORS >= 3 => self.multiply_vectors::<S, 3>(simd, out, out_stride),
            4 if S::PANEL_VECTORS >= 4 => self.multiply_vectors::<S, 4>(simd, out, out_stride),
            other => panic!("a tile has 1 to {} vectors, not {other}", S::PANEL_VECTORS),
        }
    }

    #[inline(always)]
    fn multiply_vectors<S: Simd, const V: usize>(self, simd: S, out: &mut [f32], out_stride: usize) {
        match self.rows {
            1 => self.multiply_rows::<S, 1, V>(simd, out, out_stride),
            2 => self.multiply_rows::<S, 2, V>(simd, out, out_stride),
            3 => self.multiply_rows::<S, 3, V>(simd, out, out_stride),
            4 => self.multiply_rows::<S, 4, V>(simd, out, out_stride),
            5 if S::TILE_ROWS >= 5 => self.multiply_rows::<S, 5, V>(simd, out, out_stride),
            6 if S::TILE_ROWS >= 6 => self.multiply_rows::<S, 6, V>(simd, out, out_stride),
            7 if S::TILE_ROWS >= 7 => self.multiply_rows::<S, 7, V>(simd, out, out_stride),
            8 if S::TILE_ROWS >= 8 => self.multiply_rows::<S, 8, V>(simd, out, out_stride),
            other => panic!("a tile has 1 to {} rows, not {other}", S::TILE_ROWS),
        }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn multiply_rows<S: Simd, const R: usize, const V: usize>(
        self,
        simd: S,
        out: &mut [f32],
        out_stride: usize,
    ) {
        let width = V * S::LANES;
        let span = |stride: usize, columns: usize| (R - 1).saturating_mul(stride).saturating_add(columns);
        assert!(self.a.len() >= span(self.a_stride, self.depth), "R rows of A");
        assert!(self.b.len() / width >= self.depth, "a row of B for every value of a row of A");
        assert!(out_stride >= width && out.len() >= span(out_stride, width), "R rows of sums");
        let mut start = 0;
        loop {
            let depth = BLOCK.min(self.depth - start);
            // SAFETY: by the asserted lengths, `a` holds R rows of `self.depth` values, `b` holds `self.depth` rows of
            // `width`, and `out` holds R rows of `width`; `start + depth <= self.depth`.
            unsafe {
                let a = self.a.as_ptr().add(start);
                let b = self.b.as_ptr().add(start * width);
                let sums = block::<S, E, R, V>(simd, a, self.a_stride, b, depth, self.ahead, start);
                for (row, sums) in sums.iter().enumerate() {
                    for (column, &sum) in sums.iter().enumerate() {
                        let place = out.as_mut_ptr().add(row * out_stride + column * S::LANES);
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

/// Returns the sums of `depth` products, held in registers throughout.
///
/// # Safety
/// `a` points to R rows of `depth` values, `a_stride` apart, and `b` to `depth * V * LANES` values.
#[inline(always)]
#[allow(unsafe_code)]
// Indexed loops, with `columns` outside, because then the compiler keeps everything in registers; with iterators, or
// with `columns` inside, AVX-512 ran ten times slower.
#[allow(clippy::needless_range_loop)]
unsafe fn block<S: Simd, E: Widen, const R: usize, const V: usize>(
    simd: S,
    a: *const f32,
    a_stride: usize,
    b: *const E,
    depth: usize,
    ahead: Ahead,
    first: usize,
) -> [[S::Vector; V]; R] {
    let mut sums = [[simd.splat(0.0); V]; R];
    let mut columns = [simd.splat(0.0); V];
    for step in 0..depth {
        ahead.fetch(first + step);
        // SAFETY: `step < depth`, and the caller promises the values at these places.
        unsafe {
            let b = b.add(step * V * S::LANES);
            for vector in 0..V {
                columns[vector] = E::load_pointer(simd, b.add(vector * S::LANES));
            }
            for row in 0..R {
                let value = simd.splat(*a.add(row * a_stride + step));
                for vector in 0..V {
                    sums[row][vector] = simd.fma(value, columns[vector], sums[row][vector]);
                }
            }
        }
    }
    sums
}
