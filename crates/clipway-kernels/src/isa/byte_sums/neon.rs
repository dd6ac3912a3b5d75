//! A row in each of four NEON vectors.

use super::{ByteSums, LANES, LOW_BITS, PRECISION, ROWS, Step, patterns, taps};
use crate::isa::neon::Neon;
use std::arch::aarch64::*;

#[allow(unsafe_code)]
impl ByteSums for Neon {
    #[inline(always)]
    unsafe fn byte_sums<const CHANNELS: usize>(
        self,
        rows: [&[u8]; ROWS],
        steps: &[Step],
    ) -> [[u8; LANES]; ROWS] {
        // SAFETY: `self` is proof of the instructions; the caller promises the bytes of every step.
        unsafe {
            let patterns = const { patterns::<CHANNELS>() }.map(|pattern| vld1q_u8(pattern.as_ptr()));
            // The products of the first two lanes, and of the other two; pairs are added at the end.
            let mut low = [[vdupq_n_s32(0); 2]; ROWS];
            let mut high = low;
            for (index, Step(weights)) in steps.iter().enumerate() {
                let start = index * taps::<CHANNELS>() * CHANNELS;
                let bytes = rows.map(|row| vld1q_u8(row.as_ptr().add(start)));
                for half in 0..2 {
                    let low_weights = vld1q_s16(weights[2 * half].as_ptr());
                    let high_weights = vld1q_s16(weights[2 * half + 1].as_ptr());
                    for row in 0..ROWS {
                        let pairs = vreinterpretq_s16_u8(vqtbl1q_u8(bytes[row], patterns[half]));
                        low[row] = add_products(low[row], pairs, low_weights);
                        high[row] = add_products(high[row], pairs, high_weights);
                    }
                }
            }
            let mut words = [vdup_n_u16(0); ROWS];
            for row in 0..ROWS {
                let [low, high] = [low[row], high[row]].map(|[first, second]| vpaddq_s32(first, second));
                let mut sums = vaddq_s32(low, vshlq_n_s32::<{ LOW_BITS as i32 }>(high));
                if CHANNELS <= 2 {
                    sums = vaddq_s32(sums, vextq_s32::<2>(sums, sums));
                }
                if CHANNELS == 1 {
                    sums = vaddq_s32(sums, vrev64q_s32(sums));
                }
                // Not the shift that rounds, since that does not wrap.
                let rounded = vaddq_s32(sums, vdupq_n_s32(1 << (PRECISION - 1)));
                words[row] = vqmovun_s32(vshrq_n_s32::<{ PRECISION as i32 }>(rounded));
            }
            let pair = |first: usize| vqmovn_u16(vcombine_u16(words[first], words[first + 1]));
            let mut out = [[0; LANES]; ROWS];
            vst1q_u8(out.as_mut_ptr().cast(), vcombine_u8(pair(0), pair(2)));
            out
        }
    }
}

/// Adds eight products, wrapping.
///
/// # Safety
/// The processor has NEON.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn add_products(sums: [int32x4_t; 2], values: int16x8_t, weights: int16x8_t) -> [int32x4_t; 2] {
    // SAFETY: the caller promises NEON.
    unsafe {
        let first = vmlal_s16(sums[0], vget_low_s16(values), vget_low_s16(weights));
        [first, vmlal_high_s16(sums[1], values, weights)]
    }
}
