//! Products of pairs of bf16 in AVX-512 BF16.

use crate::isa::{Avx512, Multiply, Simd};
use half::bf16;
use std::arch::x86_64::*;

/// Proof that the processor has everything [`Avx512`] needs, plus AVX-512 BF16.
#[derive(Clone, Copy)]
pub(super) struct Avx512Bf16(Avx512);

/// A computation that is compiled for the instructions; see [`crate::isa::Kernel`].
pub(super) trait PairKernel {
    /// Runs the computation.
    fn run(self, pairs: Avx512Bf16);
}

/// Returns the name of the processor's vendor.
pub(super) fn vendor() -> [u8; 12] {
    #[allow(unsafe_code, unused_unsafe)]
    // SAFETY: every processor of this kind has the instruction. Newer compilers need no promise of it.
    let leaf = unsafe { __cpuid(0) };
    let mut name = [0; 12];
    for (part, register) in name.chunks_exact_mut(4).zip([leaf.ebx, leaf.edx, leaf.ecx]) {
        part.copy_from_slice(&register.to_le_bytes());
    }
    name
}

const LANES: usize = Avx512::LANES;

impl Avx512Bf16 {
    /// Returns the proof if the processor has the instructions.
    pub(super) fn detect() -> Option<Self> {
        Avx512::detect().filter(|_| is_x86_feature_detected!("avx512bf16")).map(Self)
    }

    /// Runs a kernel with the instructions enabled.
    #[allow(unsafe_code)]
    pub(super) fn vectorize<K: PairKernel>(self, kernel: K) {
        /// Runs a kernel in a function compiled for the instructions.
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")]
        fn enter<K: PairKernel>(pairs: Avx512Bf16, kernel: K) {
            kernel.run(pairs);
        }
        // SAFETY: `self` is proof that the processor has the features that `enter` enables.
        unsafe { enter(self, kernel) }
    }

    /// Rounds a row to the nearest bf16, ties to even; `out` is zero beyond the row.
    ///
    /// # Panics
    /// If `out` is shorter than the row.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(super) fn round_row(self, row: &[f32], out: &mut [bf16]) {
        let (out, rest) = out.split_at_mut(row.len());
        let (wholes, part) = row.as_chunks::<LANES>();
        let (places, last) = out.as_chunks_mut::<LANES>();
        for (values, place) in wholes.iter().zip(places) {
            // SAFETY: `self` is proof of the instructions; the place holds `LANES` values of two bytes.
            unsafe {
                let rounded = _mm512_cvtneps_pbh(self.0.load(values));
                _mm256_storeu_epi16(
                    place.as_mut_ptr().cast(),
                    std::mem::transmute::<__m256bh, __m256i>(rounded),
                );
            }
        }
        // SAFETY: `self` is proof of the instructions; lanes beyond `last`, as long as `part`, are not written.
        unsafe {
            let rounded = _mm512_cvtneps_pbh(self.0.load_part(part, 0.0));
            let mask = (1 << part.len()) - 1;
            let rounded = std::mem::transmute::<__m256bh, __m256i>(rounded);
            _mm256_mask_storeu_epi16(last.as_mut_ptr().cast(), mask, rounded);
        }
        rest.fill(bf16::ZERO);
    }
}

#[allow(unsafe_code)]
impl Multiply for Avx512Bf16 {
    type Simd = Avx512;
    type A = bf16;
    type B = bf16;
    type Group = __m512bh;
    type Columns = __m512bh;
    const GROUP: usize = 2;

    #[inline(always)]
    fn simd(self) -> Avx512 {
        self.0
    }

    #[inline(always)]
    unsafe fn group(self, a: *const bf16) -> __m512bh {
        // SAFETY: `self` is proof of the instruction; the caller promises two values, four bytes.
        unsafe { std::mem::transmute(_mm512_set1_epi32(a.cast::<i32>().read_unaligned())) }
    }

    #[inline(always)]
    unsafe fn columns(self, b: *const bf16) -> __m512bh {
        // SAFETY: `self` is proof of the instruction; the caller promises `2 * LANES` values, 64 bytes.
        unsafe { std::mem::transmute(_mm512_loadu_si512(b.cast())) }
    }

    #[inline(always)]
    fn add(self, sums: __m512, group: __m512bh, columns: __m512bh) -> __m512 {
        // SAFETY: `self` is proof that the processor has the instruction.
        unsafe { _mm512_dpbf16_ps(sums, group, columns) }
    }
}
