//! Two rows in each of two AVX2 vectors.

use super::{ByteSums, LANES, LOW_BITS, PRECISION, ROWS, Step, patterns, taps};
use crate::isa::avx2::Avx2;
use std::arch::x86_64::*;

#[allow(unsafe_code)]
impl ByteSums for Avx2 {
    #[inline(always)]
    unsafe fn byte_sums<const CHANNELS: usize>(
        self,
        rows: [&[u8]; ROWS],
        steps: &[Step],
    ) -> [[u8; LANES]; ROWS] {
        // SAFETY: `self` is proof of the instructions; the caller promises the bytes of every step.
        unsafe {
            let spread = |values: *const u8| _mm256_broadcastsi128_si256(_mm_loadu_si128(values.cast()));
            let patterns = const { patterns::<CHANNELS>() }.map(|pattern| spread(pattern.as_ptr()));
            let mut low = [_mm256_setzero_si256(); ROWS / 2];
            let mut high = low;
            for (index, Step(weights)) in steps.iter().enumerate() {
                let start = index * taps::<CHANNELS>() * CHANNELS;
                let row = |row: usize| _mm_loadu_si128(rows[row].as_ptr().add(start).cast());
                for half in 0..2 {
                    let weight = |part: usize| spread(weights[2 * half + part].as_ptr().cast());
                    let (low_weights, high_weights) = (weight(0), weight(1));
                    for pair in 0..ROWS / 2 {
                        let upper = _mm256_castsi128_si256(row(2 * pair));
                        let bytes = _mm256_inserti128_si256::<1>(upper, row(2 * pair + 1));
                        let pairs = _mm256_shuffle_epi8(bytes, patterns[half]);
                        low[pair] = _mm256_add_epi32(low[pair], _mm256_madd_epi16(pairs, low_weights));
                        high[pair] = _mm256_add_epi32(high[pair], _mm256_madd_epi16(pairs, high_weights));
                    }
                }
            }
            let mut whole = low;
            for pair in 0..ROWS / 2 {
                let mut sums =
                    _mm256_add_epi32(low[pair], _mm256_slli_epi32::<{ LOW_BITS as i32 }>(high[pair]));
                if CHANNELS <= 2 {
                    sums = _mm256_add_epi32(sums, _mm256_shuffle_epi32::<0b01_00_11_10>(sums));
                }
                if CHANNELS == 1 {
                    sums = _mm256_add_epi32(sums, _mm256_shuffle_epi32::<0b10_11_00_01>(sums));
                }
                let rounded = _mm256_add_epi32(sums, _mm256_set1_epi32(1 << (PRECISION - 1)));
                whole[pair] = _mm256_srai_epi32::<{ PRECISION as i32 }>(rounded);
            }
            // Packing stays within 128-bit halves: rows 0 and 2 end up in the first, 1 and 3 in the second.
            let words = _mm256_packs_epi32(whole[0], whole[1]);
            let bytes = _mm256_packus_epi16(words, words);
            let even = _mm_cvtsi128_si64(_mm256_castsi256_si128(bytes)).to_le_bytes();
            let odd = _mm_cvtsi128_si64(_mm256_extracti128_si256::<1>(bytes)).to_le_bytes();
            let row = |bytes: [u8; 8], at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
            [row(even, 0), row(odd, 0), row(even, 4), row(odd, 4)]
        }
    }
}
