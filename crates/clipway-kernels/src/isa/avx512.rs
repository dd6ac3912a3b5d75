//! Vectors of sixteen f32 in AVX-512.

use super::Isa;
use super::simd::{Kernel, Simd};
use half::bf16;
use std::arch::x86_64::*;

/// Proof that the processor has AVX-512 F, BW, DQ and VL, AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

const LANES: usize = Isa::Avx512.lanes();

impl Avx512 {
    /// Returns the proof if the processor has the instruction set.
    #[inline]
    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c"))
        .then_some(Avx512(()))
    }
}

/// Runs a kernel in a function compiled for AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
fn enter<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
    kernel.run(simd)
}

/// Returns the mask of the first `count` lanes.
#[inline(always)]
fn first(count: usize) -> __mmask16 {
    if count >= LANES { u16::MAX } else { (1 << count) - 1 }
}

/// Defines operations that are one intrinsic each.
macro_rules! intrinsics {
    ($($name:ident($($argument:ident),*) = $intrinsic:ident;)*) => {$(
        #[inline(always)]
        fn $name(self, $($argument: __m512),*) -> __m512 {
            // SAFETY: `self` is proof that the processor has the instruction.
            unsafe { $intrinsic($($argument),*) }
        }
    )*};
}

#[allow(unsafe_code)]
impl Simd for Avx512 {
    type Vector = __m512;
    type Mask = __mmask16;
    const ISA: Isa = Isa::Avx512;

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: `self` is proof that the processor has the features that `enter` enables.
        unsafe { enter(self, kernel) }
    }

    intrinsics! {
        add(a, b) = _mm512_add_ps;
        sub(a, b) = _mm512_sub_ps;
        mul(a, b) = _mm512_mul_ps;
        div(a, b) = _mm512_div_ps;
        fma(a, b, c) = _mm512_fmadd_ps;
        max(a, b) = _mm512_max_ps;
        min(a, b) = _mm512_min_ps;
        abs(a) = _mm512_abs_ps;
        scale(a, n) = _mm512_scalef_ps;
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: `self` is proof that the processor has the instruction.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn load(self, values: &[f32]) -> __m512 {
        // SAFETY: `self` is proof of the instruction; the slice was cut to LANES values.
        unsafe { _mm512_loadu_ps(values[..LANES].as_ptr()) }
    }

    #[inline(always)]
    fn load_part(self, values: &[f32], fill: f32) -> __m512 {
        // SAFETY: `self` is proof of the instruction; masked lanes are not read.
        unsafe { _mm512_mask_loadu_ps(_mm512_set1_ps(fill), first(values.len()), values.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, values: &mut [f32], vector: __m512) {
        // SAFETY: `self` is proof of the instruction; the slice was cut to LANES values.
        unsafe { _mm512_storeu_ps(values[..LANES].as_mut_ptr(), vector) }
    }

    #[inline(always)]
    fn store_part(self, values: &mut [f32], vector: __m512) {
        // SAFETY: `self` is proof of the instruction; masked lanes are not written.
        unsafe { _mm512_mask_storeu_ps(values.as_mut_ptr(), first(values.len()), vector) }
    }

    #[inline(always)]
    unsafe fn load_pointer(self, values: *const f32) -> __m512 {
        // SAFETY: `self` is proof of the instruction; the caller promises LANES readable values.
        unsafe { _mm512_loadu_ps(values) }
    }

    #[inline(always)]
    unsafe fn load_bf16_pointer(self, values: *const bf16) -> __m512 {
        // SAFETY: `self` is proof of the instructions; the caller promises LANES readable values.
        unsafe {
            let halves = _mm256_loadu_si256(values.cast());
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
        }
    }

    #[inline(always)]
    unsafe fn store_pointer(self, values: *mut f32, vector: __m512) {
        // SAFETY: `self` is proof of the instruction; the caller promises LANES writable values.
        unsafe { _mm512_storeu_ps(values, vector) }
    }

    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        // SAFETY: `self` is proof that the processor has the instruction.
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }

    #[inline(always)]
    fn less(self, a: __m512, b: __m512) -> __mmask16 {
        // SAFETY: `self` is proof that the processor has the instruction.
        unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b) }
    }

    #[inline(always)]
    fn is_nan(self, a: __m512) -> __mmask16 {
        // SAFETY: `self` is proof that the processor has the instruction.
        unsafe { _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a) }
    }

    #[inline(always)]
    fn select(self, mask: __mmask16, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` is proof that the processor has the instruction.
        unsafe { _mm512_mask_blend_ps(mask, b, a) }
    }

    #[inline(always)]
    fn sum(self, a: __m512) -> f32 {
        // SAFETY: `self` is proof that the processor has the instructions.
        unsafe { _mm512_reduce_add_ps(a) }
    }

    #[inline(always)]
    fn max_lane(self, a: __m512) -> f32 {
        // SAFETY: `self` is proof that the processor has the instructions.
        unsafe { _mm512_reduce_max_ps(a) }
    }
}
