//! Int8 products on x86: VNNI if available, otherwise in 16 bits.

use super::dot::{Dot, DotKernel};
use super::path::Int8Path;
use crate::isa::{Avx2, Avx512, Simd};
use std::arch::x86_64::*;

/// Proof that the processor has everything [`Avx512`] needs, plus AVX-512 VNNI.
#[derive(Clone, Copy)]
pub(super) struct Avx512Vnni(Avx512);

/// Proof that the processor has everything [`Avx2`] needs, plus AVX-VNNI.
#[derive(Clone, Copy)]
pub(super) struct AvxVnni(Avx2);

/// The same instruction in its AVX-512 encoding, to test the code shared with [`AvxVnni`].
#[cfg(test)]
#[derive(Clone, Copy)]
pub(super) struct Avx512Vnni256(Avx2);

/// Proof that the processor has everything [`Avx2`] needs.
#[derive(Clone, Copy)]
pub(super) struct Avx2Dot(Avx2);

impl Avx512Vnni {
    /// Returns the proof if the processor has the instructions.
    pub(super) fn detect() -> Option<Self> {
        Avx512::detect().filter(|_| is_x86_feature_detected!("avx512vnni")).map(Self)
    }
}

impl AvxVnni {
    /// Returns the proof if the processor has the instructions.
    pub(super) fn detect() -> Option<Self> {
        Avx2::detect().filter(|_| is_x86_feature_detected!("avxvnni")).map(Self)
    }
}

#[cfg(test)]
impl Avx512Vnni256 {
    /// Returns the proof if the processor has the instructions.
    pub(super) fn detect() -> Option<Self> {
        Avx512Vnni::detect().and_then(|_| Avx2::detect()).map(Self)
    }
}

impl Avx2Dot {
    /// Returns the proof if the processor has the instructions.
    pub(super) fn detect() -> Option<Self> {
        Avx2::detect().map(Self)
    }
}

/// The types and methods that differ between paths only in names.
macro_rules! common {
    ($float:ident, $vector:ident, $value:ident, $path:ident, $features:literal, $zero:ident, $load:ident, $spread:ident, $subtract:ident, $floats:ident, $store:ident) => {
        type Float = $float;
        type Sums = $vector;
        type Weights = $vector;
        type Group = $vector;
        type Value = $value;
        const PATH: Int8Path = Int8Path::$path;

        #[inline(always)]
        fn float(self) -> $float {
            self.0
        }

        #[inline(always)]
        fn vectorize<K: DotKernel<$value>>(self, kernel: K) {
            /// Runs a kernel in a function compiled for the path.
            #[target_feature(enable = $features)]
            fn enter<D: Dot, K: DotKernel<D::Value>>(dot: D, kernel: K) {
                kernel.run(dot);
            }
            // SAFETY: `self` is proof that the processor has the features that `enter` enables.
            unsafe { enter(self, kernel) }
        }

        #[inline(always)]
        fn zero(self) -> $vector {
            // SAFETY: `self` is proof that the processor has the instruction.
            unsafe { $zero() }
        }

        #[inline(always)]
        unsafe fn load(self, place: *const i32) -> $vector {
            // SAFETY: `self` is proof of the instruction; the caller promises the values.
            unsafe { $load(place.cast()) }
        }

        #[inline(always)]
        fn floats(self, sums: $vector) -> <$float as Simd>::Vector {
            // SAFETY: `self` is proof that the processor has the instruction.
            unsafe { $floats(sums) }
        }

        #[inline(always)]
        unsafe fn group(self, values: *const $value) -> $vector {
            // SAFETY: `self` is proof of the instruction; the caller promises the values, which take four bytes.
            unsafe { $spread(values.cast::<i32>().read_unaligned()) }
        }

        #[inline(always)]
        unsafe fn store(self, place: *mut i32, sums: $vector) {
            // SAFETY: `self` is proof of the instruction; the caller promises the places.
            unsafe { $store(place.cast(), sums) }
        }

        #[inline(always)]
        fn subtract(self, sums: $vector, others: $vector) -> $vector {
            // SAFETY: `self` is proof of the instruction.
            unsafe { $subtract(sums, others) }
        }
    };
}

#[allow(unsafe_code)]
impl Dot for Avx512Vnni {
    common! {
        Avx512, __m512i, u8, Avx512Vnni, "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c",
        _mm512_setzero_si512, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_sub_epi32, _mm512_cvtepi32_ps, _mm512_storeu_si512
    }

    #[inline(always)]
    unsafe fn weights(self, weights: *const i8) -> __m512i {
        // SAFETY: `self` is proof of the instruction; the caller promises 64 bytes.
        unsafe { _mm512_loadu_si512(weights.cast()) }
    }

    #[inline(always)]
    fn add(self, sums: __m512i, group: __m512i, weights: __m512i) -> __m512i {
        // SAFETY: `self` is proof that the processor has the instruction.
        unsafe { _mm512_dpbusd_epi32(sums, group, weights) }
    }
}

/// `vpdpbusd` on 256 bits in one of its two encodings.
macro_rules! vnni256 {
    ($name:ident, $features:literal, $dot:ident) => {
        #[allow(unsafe_code)]
        impl Dot for $name {
            common! {
                Avx2, __m256i, u8, AvxVnni, $features,
                _mm256_setzero_si256, _mm256_loadu_si256, _mm256_set1_epi32, _mm256_sub_epi32, _mm256_cvtepi32_ps, _mm256_storeu_si256
            }

            #[inline(always)]
            unsafe fn weights(self, weights: *const i8) -> __m256i {
                // SAFETY: `self` is proof of the instruction; the caller promises 32 bytes.
                unsafe { _mm256_loadu_si256(weights.cast()) }
            }

            #[inline(always)]
            fn add(self, sums: __m256i, group: __m256i, weights: __m256i) -> __m256i {
                // SAFETY: `self` is proof that the processor has the instruction.
                unsafe { $dot(sums, group, weights) }
            }
        }
    };
}

vnni256!(AvxVnni, "avxvnni,avx2,fma,f16c", _mm256_dpbusd_avx_epi32);
#[cfg(test)]
vnni256!(Avx512Vnni256, "avx512vnni,avx512vl,avx2,fma,f16c", _mm256_dpbusd_epi32);

#[allow(unsafe_code)]
impl Dot for Avx2Dot {
    common! {
        Avx2, __m256i, i16, Avx2, "avx2,fma,f16c",
        _mm256_setzero_si256, _mm256_loadu_si256, _mm256_set1_epi32, _mm256_sub_epi32, _mm256_cvtepi32_ps, _mm256_storeu_si256
    }

    #[inline(always)]
    unsafe fn weights(self, weights: *const i8) -> __m256i {
        // SAFETY: `self` is proof of the instructions; the caller promises 16 bytes.
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.cast())) }
    }

    #[inline(always)]
    fn add(self, sums: __m256i, group: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: `self` is proof that the processor has the instructions. The sum of two 16-bit products fits 32 bits.
        unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(group, weights)) }
    }
}
