//! Int8 products in plain Rust.

use super::dot::{Dot, DotKernel};
use super::path::Int8Path;
use crate::isa::{Isa, Portable};

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
    const GROUP: usize = GROUP;

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
    unsafe fn store(self, place: *mut i32, sums: Self::Sums) {
        // SAFETY: the caller promises the places; an array is aligned like its elements.
        unsafe { place.cast::<Self::Sums>().write(sums) }
    }
}
