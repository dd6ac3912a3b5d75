//! Four rows in one AVX-512 vector.

use super::{ByteSums, LANES, LOW_BITS, PRECISION, ROWS, Step, patterns, taps};
use crate::isa::avx512::Avx512;
use std::arch::x86_64::*;

#[allow(unsafe_code)]
impl ByteSums for Avx512 {
    #[inline(always)]
    unsafe fn byte_sums<const CHANNELS: usize>(
        self,
        rows: [&[u8]; ROWS],
        steps: &[Step],
    ) -> [[u8; LANES]; ROWS] {
        // SAFETY: `self` is proof of the instructions; the caller promises the bytes of every step.
        unsafe {
            let spread = |values: *const u8| _mm512_broadcast_i32x4(_mm_loadu_si128(values.cast()));
            let patterns = const { patterns::<CHANNELS>() }.map(|pattern| spread(pattern.as_ptr()));
            let (mut low, mut high) = (_mm512_setzero_si512(), _mm512_setzero_si512());
            for (index, Step(weights)) in steps.iter().enumerate() {
                let start = index * taps::<CHANNELS>() * CHANNELS;
                let row = |row: usize| _mm_loadu_si128(rows[row].as_ptr().add(start).cast());
                let upper = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(row(0)), row(1));
                let lower = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(row(2)), row(3));
                let bytes = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(upper), lower);
                for half in 0..2 {
                    let pairs = _mm512_shuffle_epi8(bytes, patterns[half]);
                    let weight = |part: usize| spread(weights[2 * half + part].as_ptr().cast());
                    low = _mm512_add_epi32(low, _mm512_madd_epi16(pairs, weight(0)));
                    high = _mm512_add_epi32(high, _mm512_madd_epi16(pairs, weight(1)));
                }
            }
            let mut sums = _mm512_add_epi32(low, _mm512_slli_epi32::<LOW_BITS>(high));
            if CHANNELS <= 2 {
                sums = _mm512_add_epi32(sums, _mm512_shuffle_epi32::<0b01_00_11_10>(sums));
            }
            if CHANNELS == 1 {
                sums = _mm512_add_epi32(sums, _mm512_shuffle_epi32::<0b10_11_00_01>(sums));
            }
            let rounded = _mm512_add_epi32(sums, _mm512_set1_epi32(1 << (PRECISION - 1)));
            let whole = _mm512_srai_epi32::<PRECISION>(rounded);
            let bytes = _mm512_cvtusepi32_epi8(_mm512_max_epi32(whole, _mm512_setzero_si512()));
            let mut out = [[0; LANES]; ROWS];
            _mm_storeu_si128(out.as_mut_ptr().cast(), bytes);
            out
        }
    }
}
