//! Int8 products on 64-bit ARM: `sdot` if available, otherwise in 16 bits.

use super::dot::{Dot, DotKernel};
use super::path::Int8Path;
use super::row_dot::RowDot;
use crate::isa::{Neon, Simd};
use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

/// Proof that the processor has everything [`Neon`] needs, plus the dot products of int8.
#[derive(Clone, Copy)]
pub(super) struct NeonDot(Neon);

/// Proof that the processor has everything [`Neon`] needs.
#[derive(Clone, Copy)]
pub(super) struct NeonWide(Neon);

impl NeonDot {
    /// Returns the proof if the processor has the instructions.
    pub(super) fn detect() -> Option<Self> {
        Neon::detect().filter(|_| is_aarch64_feature_detected!("dotprod")).map(Self)
    }
}

impl NeonWide {
    /// Returns the proof if the processor has the instructions.
    pub(super) fn detect() -> Option<Self> {
        Neon::detect().map(Self)
    }
}

/// Adds to each sum the products of four neighboring int8, wrapping.
///
/// The standard library's function for it is not stable yet.
#[inline]
#[target_feature(enable = "neon,dotprod")]
#[allow(unsafe_code)]
fn sdot(mut sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: the function's features include the instruction, which touches registers only.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {a:v}.16b, {b:v}.16b",
            sums = inout(vreg) sums,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// The types and methods that differ between paths only in names.
macro_rules! common {
    ($path:ident, $features:literal) => {
        type Float = Neon;
        type Sums = int32x4_t;
        type Value = i8;
        const PATH: Int8Path = Int8Path::$path;

        #[inline(always)]
        fn float(self) -> Neon {
            self.0
        }

        #[inline(always)]
        fn vectorize<K: DotKernel<i8>>(self, kernel: K) {
            /// Runs a kernel in a function compiled for the path.
            #[target_feature(enable = $features)]
            fn enter<D: Dot, K: DotKernel<D::Value>>(dot: D, kernel: K) {
                kernel.run(dot);
            }
            // SAFETY: `self` is proof that the processor has the features that `enter` enables.
            unsafe { enter(self, kernel) }
        }

        #[inline(always)]
        fn zero(self) -> int32x4_t {
            // SAFETY: `self` is proof that the processor has the instruction.
            unsafe { vdupq_n_s32(0) }
        }

        #[inline(always)]
        unsafe fn load(self, place: *const i32) -> int32x4_t {
            // SAFETY: `self` is proof of the instruction; the caller promises the values.
            unsafe { vld1q_s32(place) }
        }

        #[inline(always)]
        fn floats(self, sums: int32x4_t) -> <Neon as Simd>::Vector {
            // SAFETY: `self` is proof that the processor has the instruction.
            unsafe { vcvtq_f32_s32(sums) }
        }

        #[inline(always)]
        unsafe fn store(self, place: *mut i32, sums: int32x4_t) {
            // SAFETY: `self` is proof of the instruction; the caller promises the places.
            unsafe { vst1q_s32(place, sums) }
        }

        #[inline(always)]
        fn subtract(self, sums: int32x4_t, others: int32x4_t) -> int32x4_t {
            // SAFETY: `self` is proof of the instruction.
            unsafe { vsubq_s32(sums, others) }
        }
    };
}

#[allow(unsafe_code)]
impl Dot for NeonDot {
    common! { NeonDot, "neon,dotprod" }
    type Weights = int8x16_t;
    type Group = int8x16_t;

    #[inline(always)]
    unsafe fn weights(self, weights: *const i8) -> int8x16_t {
        // SAFETY: `self` is proof of the instruction; the caller promises 16 bytes.
        unsafe { vld1q_s8(weights) }
    }

    #[inline(always)]
    unsafe fn group(self, values: *const i8) -> int8x16_t {
        // SAFETY: `self` is proof of the instruction; the caller promises four bytes.
        unsafe { vreinterpretq_s8_s32(vdupq_n_s32(values.cast::<i32>().read_unaligned())) }
    }

    #[inline(always)]
    fn add(self, sums: int32x4_t, group: int8x16_t, weights: int8x16_t) -> int32x4_t {
        // SAFETY: `self` is proof that the processor has the instruction.
        unsafe { sdot(sums, weights, group) }
    }
}

#[allow(unsafe_code)]
impl Dot for NeonWide {
    common! { Neon, "neon" }
    type Weights = int8x8_t;
    type Group = int8x8_t;

    #[inline(always)]
    unsafe fn weights(self, weights: *const i8) -> int8x8_t {
        // SAFETY: `self` is proof of the instruction; the caller promises eight bytes.
        unsafe { vld1_s8(weights) }
    }

    #[inline(always)]
    unsafe fn group(self, values: *const i8) -> int8x8_t {
        // SAFETY: `self` is proof of the instruction; the caller promises two bytes.
        unsafe { vreinterpret_s8_s16(vdup_n_s16(values.cast::<i16>().read_unaligned())) }
    }

    #[inline(always)]
    fn add(self, sums: int32x4_t, group: int8x8_t, weights: int8x8_t) -> int32x4_t {
        // SAFETY: `self` is proof that the processor has the instructions. A product fits 16 bits.
        unsafe { vpadalq_s16(sums, vmull_s8(weights, group)) }
    }
}

/// Products along a row, 16 at a time.
macro_rules! along_rows {
    ($name:ident, $add:expr) => {
        #[allow(unsafe_code)]
        impl RowDot for $name {
            type RowSums = int32x4_t;
            type RowRun = int8x16_t;
            type QueryRun = int8x16_t;
            const RUN: usize = 16;

            #[inline(always)]
            fn no_sums(self) -> int32x4_t {
                self.zero()
            }

            #[inline(always)]
            unsafe fn row_run(self, values: *const u8) -> int8x16_t {
                // SAFETY: `self` is proof of the instruction; the caller promises 16 bytes.
                unsafe { vld1q_s8(values.cast()) }
            }

            #[inline(always)]
            unsafe fn query_run(self, values: *const i8) -> int8x16_t {
                // SAFETY: `self` is proof of the instruction; the caller promises 16 bytes.
                unsafe { vld1q_s8(values) }
            }

            #[inline(always)]
            fn add_run(self, sums: int32x4_t, row: int8x16_t, query: int8x16_t) -> int32x4_t {
                // SAFETY: `self` is proof that the processor has the instructions.
                unsafe { $add(sums, row, query) }
            }

            #[inline(always)]
            fn total(self, sums: int32x4_t) -> i32 {
                // SAFETY: `self` is proof that the processor has the instruction.
                unsafe { vaddvq_s32(sums) }
            }
        }
    };
}

along_rows!(NeonDot, sdot);
along_rows!(NeonWide, add_products);

/// Adds the products of sixteen pairs of int8, wrapping.
///
/// # Safety
/// The processor has NEON.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn add_products(sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: the caller promises NEON. A product fits 16 bits.
    unsafe {
        let low = vpadalq_s16(sums, vmull_s8(vget_low_s8(a), vget_low_s8(b)));
        vpadalq_s16(low, vmull_high_s8(a, b))
    }
}
