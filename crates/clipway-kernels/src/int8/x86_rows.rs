//! Products along a row on x86: VNNI if available, otherwise in 16 bits.

use super::row_dot::RowDot;
#[cfg(test)]
use super::x86::Avx512Vnni256;
use super::x86::{Avx2Dot, Avx512Vnni, AvxVnni};
use std::arch::x86_64::*;

/// Flips the highest bit of each byte, which adds 128 to an int8.
const OFFSET: i8 = i8::MIN;

#[allow(unsafe_code)]
impl RowDot for Avx512Vnni {
    type RowSums = __m512i;
    type RowRun = __m512i;
    type QueryRun = __m512i;
    const RUN: usize = 64;

    #[inline(always)]
    fn no_sums(self) -> __m512i {
        // SAFETY: `self` is proof that the processor has the instruction.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn row_run(self, values: *const u8) -> __m512i {
        // SAFETY: `self` is proof of the instructions; the caller promises 64 bytes.
        unsafe { _mm512_xor_si512(_mm512_loadu_si512(values.cast()), _mm512_set1_epi8(OFFSET)) }
    }

    #[inline(always)]
    unsafe fn query_run(self, values: *const i8) -> __m512i {
        // SAFETY: `self` is proof of the instruction; the caller promises 64 bytes.
        unsafe { _mm512_loadu_si512(values.cast()) }
    }

    #[inline(always)]
    fn add_run(self, sums: __m512i, row: __m512i, query: __m512i) -> __m512i {
        // SAFETY: `self` is proof that the processor has the instruction.
        unsafe { _mm512_dpbusd_epi32(sums, row, query) }
    }

    #[inline(always)]
    fn total(self, sums: __m512i) -> i32 {
        // SAFETY: `self` is proof that the processor has the instructions.
        unsafe {
            let low = _mm512_castsi512_si256(sums);
            total_256(_mm256_add_epi32(low, _mm512_extracti64x4_epi64::<1>(sums)))
        }
    }
}

/// Adds up eight sums.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn total_256(sums: __m256i) -> i32 {
    // SAFETY: the caller promises AVX2.
    unsafe {
        let four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b_01_00_11_10>(four));
        _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b_10_11_00_01>(two)))
    }
}

/// `vpdpbusd` on 256 bits in one of its two encodings.
macro_rules! vnni256 {
    ($name:ty, $dot:ident) => {
        #[allow(unsafe_code)]
        impl RowDot for $name {
            type RowSums = __m256i;
            type RowRun = __m256i;
            type QueryRun = __m256i;
            const RUN: usize = 32;

            #[inline(always)]
            fn no_sums(self) -> __m256i {
                // SAFETY: `self` is proof that the processor has the instruction.
                unsafe { _mm256_setzero_si256() }
            }

            #[inline(always)]
            unsafe fn row_run(self, values: *const u8) -> __m256i {
                // SAFETY: `self` is proof of the instructions; the caller promises 32 bytes.
                unsafe { _mm256_xor_si256(_mm256_loadu_si256(values.cast()), _mm256_set1_epi8(OFFSET)) }
            }

            #[inline(always)]
            unsafe fn query_run(self, values: *const i8) -> __m256i {
                // SAFETY: `self` is proof of the instruction; the caller promises 32 bytes.
                unsafe { _mm256_loadu_si256(values.cast()) }
            }

            #[inline(always)]
            fn add_run(self, sums: __m256i, row: __m256i, query: __m256i) -> __m256i {
                // SAFETY: `self` is proof that the processor has the instruction.
                unsafe { $dot(sums, row, query) }
            }

            #[inline(always)]
            fn total(self, sums: __m256i) -> i32 {
                // SAFETY: `self` is proof that the processor has AVX2.
                unsafe { total_256(sums) }
            }
        }
    };
}

vnni256!(AvxVnni, _mm256_dpbusd_avx_epi32);
#[cfg(test)]
vnni256!(Avx512Vnni256, _mm256_dpbusd_epi32);

#[allow(unsafe_code)]
impl RowDot for Avx2Dot {
    type RowSums = __m256i;
    type RowRun = __m256i;
    type QueryRun = __m256i;
    const RUN: usize = 16;

    #[inline(always)]
    fn no_sums(self) -> __m256i {
        // SAFETY: `self` is proof that the processor has the instruction.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn row_run(self, values: *const u8) -> __m256i {
        // SAFETY: `self` is proof of the instructions; the caller promises 16 bytes.
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(values.cast())) }
    }

    #[inline(always)]
    unsafe fn query_run(self, values: *const i8) -> __m256i {
        // SAFETY: `self` is proof of the instructions; the caller promises 16 bytes.
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(values.cast())) }
    }

    #[inline(always)]
    fn add_run(self, sums: __m256i, row: __m256i, query: __m256i) -> __m256i {
        // SAFETY: `self` is proof that the processor has the instructions. Two 16-bit products fit 32 bits.
        unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(row, query)) }
    }

    #[inline(always)]
    fn total(self, sums: __m256i) -> i32 {
        // SAFETY: `self` is proof that the processor has AVX2.
        unsafe { total_256(sums) }
    }
}
