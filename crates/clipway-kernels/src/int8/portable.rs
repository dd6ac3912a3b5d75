//! Int8 products in plain Rust.

use super::dot::{Dot, DotKernel};
use super::path::Int8Path;
use super::row_dot::RowDot;
use crate::isa::{Isa, Portable, Simd};

const LANES: usize = Isa::Portable.lanes();
const GROUP: usize = Int8Path::Portable.group();

/// The path available on every target.
#[derive(Clone, Copy)]
pub(super) struct PortableDot;

#[allow(unsafe_code)]
impl Dot for PortableDot {
    type Float = Portable;
    type Sums = [i32; LANES];
    type Weights = [[i8; GROUP]; LANES];
    type Group = [i16; GROUP];
    type Value = i16;
    const PATH: Int8Path = Int8Path::Portable;

    #[inline(always)]
    fn float(self) -> Portable {
        Portable
    }

    #[inline(always)]
    fn vectorize<K: DotKernel<i16>>(self, kernel: K) {
        kernel.run(self);
    }

    #[inline(always)]
    fn zero(self) -> Self::Sums {
        [0; LANES]
    }

    #[inline(always)]
    unsafe fn weights(self, weights: *const i8) -> Self::Weights {
        // SAFETY: the caller promises the values; bytes need no alignment.
        unsafe { weights.cast::<Self::Weights>().read() }
    }

    #[inline(always)]
    unsafe fn group(self, values: *const i16) -> Self::Group {
        // SAFETY: the caller promises the values; an array is aligned like its elements.
        unsafe { values.cast::<Self::Group>().read() }
    }

    #[inline(always)]
    fn add(self, sums: Self::Sums, group: Self::Group, weights: Self::Weights) -> Self::Sums {
        std::array::from_fn(|lane| {
            let product = |index: usize| i32::from(group[index]) * i32::from(weights[lane][index]);
            sums[lane].wrapping_add(product(0) + product(1))
        })
    }

    #[inline(always)]
    unsafe fn load(self, place: *const i32) -> Self::Sums {
        // SAFETY: the caller promises the values; an array is aligned like its elements.
        unsafe { place.cast::<Self::Sums>().read() }
    }

    #[inline(always)]
    fn floats(self, sums: Self::Sums) -> <Portable as Simd>::Vector {
        sums.map(|sum| sum as f32)
    }

    #[inline(always)]
    unsafe fn store(self, place: *mut i32, sums: Self::Sums) {
        // SAFETY: the caller promises the places; an array is aligned like its elements.
        unsafe { place.cast::<Self::Sums>().write(sums) }
    }

    #[inline(always)]
    fn subtract(self, sums: Self::Sums, others: Self::Sums) -> Self::Sums {
        std::array::from_fn(|lane| sums[lane].wrapping_sub(others[lane]))
    }
}

/// Values per run in plain Rust.
const PORTABLE_RUN: usize = 16;

#[allow(unsafe_code)]
impl RowDot for PortableDot {
    type RowSums = [i32; PORTABLE_RUN];
    type RowRun = [u8; PORTABLE_RUN];
    type QueryRun = [i8; PORTABLE_RUN];
    const RUN: usize = PORTABLE_RUN;

    #[inline(always)]
    fn no_sums(self) -> Self::RowSums {
        [0; PORTABLE_RUN]
    }

    #[inline(always)]
    unsafe fn row_run(self, values: *const u8) -> Self::RowRun {
        // SAFETY: the caller promises the values; bytes need no alignment.
        unsafe { values.cast::<Self::RowRun>().read() }
    }

    #[inline(always)]
    unsafe fn query_run(self, values: *const i8) -> Self::QueryRun {
        // SAFETY: the caller promises the values; bytes need no alignment.
        unsafe { values.cast::<Self::QueryRun>().read() }
    }

    #[inline(always)]
    fn add_run(self, sums: Self::RowSums, row: Self::RowRun, query: Self::QueryRun) -> Self::RowSums {
        // A product fits 16 bits.
        let product = |lane: usize| i16::from(row[lane].cast_signed()) * i16::from(query[lane]);
        std::array::from_fn(|lane| sums[lane].wrapping_add(i32::from(product(lane))))
    }

    #[inline(always)]
    fn total(self, sums: Self::RowSums) -> i32 {
        sums.iter().fold(0, |total, sum| total.wrapping_add(*sum))
    }
}
