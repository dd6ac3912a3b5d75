//! Vectors of eight f32 in AVX2 with FMA.

use super::Isa;
use super::simd::{Kernel, Simd};
use half::bf16;
use std::arch::x86_64::*;

/// Proof that the processor has AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

const LANES: usize = Isa::Avx2.lanes();

impl Avx2 {
    /// Returns the proof if the processor has the instruction set.
    #[inline]
    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c"))
        .then_some(Avx2(()))
    }
}

/// Runs a kernel in a function compiled for AVX2.
#[target_feature(enable = "avx2,fma,f16c")]
fn enter<K: Kernel>(simd: Avx2, kernel: K) -> K::Output {
    kernel.run(simd)
}

/// A sliding window: a load at an offset yields the mask of the first `count` lanes.
static MASKS: [i32; 2 * LANES] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// Returns the mask of the first `count` lanes.
#[inline(always)]
#[allow(unsafe_code)]
fn first(_: Avx2, count: usize) -> __m256i {
    let window = &MASKS[LANES - count.min(LANES)..][..LANES];
    // SAFETY: the argument is proof of the instruction; the window has LANES values.
    unsafe { _mm256_loadu_si256(window.as_ptr().cast()) }
}

/// Defines operations that are one intrinsic each.
macro_rules! intrinsics {
    ($($name:ident($($argument:ident),*) = $intrinsic:ident;)*) => {$(
        #[inline(always)]
        fn $name(self, $($argument: __m256),*) -> __m256 {
            // SAFETY: `self` is proof that the processor has the instruction.
            unsafe { $intrinsic($($argument),*) }
        }
    )*};
}

#[allow(unsafe_code)]
impl Simd for Avx2 {
    type Vector = __m256;
    type Mask = __m256;
    const ISA: Isa = Isa::Avx2;

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: `self` is proof that the processor has the features that `enter` enables.
        unsafe { enter(self, kernel) }
    }

    intrinsics! {
        add(a, b) = _mm256_add_ps;
        sub(a, b) = _mm256_sub_ps;
        mul(a, b) = _mm256_mul_ps;
        div(a, b) = _mm256_div_ps;
        fma(a, b, c) = _mm256_fmadd_ps;
        max(a, b) = _mm256_max_ps;
        min(a, b) = _mm256_min_ps;
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: `self` is proof that the processor has the instruction.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn load(self, values: &[f32]) -> __m256 {
        // SAFETY: `self` is proof of the instruction; the slice was cut to LANES values.
        unsafe { _mm256_loadu_ps(values[..LANES].as_ptr()) }
    }

    #[inline(always)]
    fn load_part(self, values: &[f32], fill: f32) -> __m256 {
        // SAFETY: `self` is proof of the instruction; masked lanes are not read.
        unsafe {
            let mask = first(self, values.len());
            let values = _mm256_maskload_ps(values.as_ptr(), mask);
            _mm256_blendv_ps(_mm256_set1_ps(fill), values, _mm256_castsi256_ps(mask))
        }
    }

    #[inline(always)]
    fn store(self, values: &mut [f32], vector: __m256) {
        // SAFETY: `self` is proof of the instruction; the slice was cut to LANES values.
        unsafe { _mm256_storeu_ps(values[..LANES].as_mut_ptr(), vector) }
    }

    #[inline(always)]
    fn store_part(self, values: &mut [f32], vector: __m256) {
        // SAFETY: `self` is proof of the instruction; masked lanes are not written.
        unsafe { _mm256_maskstore_ps(values.as_mut_ptr(), first(self, values.len()), vector) }
    }

    #[inline(always)]
    unsafe fn load_pointer(self, values: *const f32) -> __m256 {
        // SAFETY: `self` is proof of the instruction; the caller promises LANES readable values.
        unsafe { _mm256_loadu_ps(values) }
    }

    #[inline(always)]
    unsafe fn load_bf16_pointer(self, values: *const bf16) -> __m256 {
        // SAFETY: `self` is proof of the instructions; the caller promises LANES readable values.
        unsafe {
            let halves = _mm_loadu_si128(values.cast());
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)))
        }
    }

    #[inline(always)]
    unsafe fn store_pointer(self, values: *mut f32, vector: __m256) {
        // SAFETY: `self` is proof of the instruction; the caller promises LANES writable values.
        unsafe { _mm256_storeu_ps(values, vector) }
    }

    #[inline(always)]
    fn abs(self, a: __m256) -> __m256 {
        // SAFETY: `self` is proof that the processor has the instructions.
        unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) }
    }

    #[inline(always)]
    fn round(self, a: __m256) -> __m256 {
        // SAFETY: `self` is proof that the processor has the instruction.
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }

    #[inline(always)]
    fn scale(self, a: __m256, n: __m256) -> __m256 {
        // SAFETY: `self` is proof that the processor has the instructions.
        unsafe {
            let bias = _mm256_set1_epi32(127);
            let n = _mm256_cvtps_epi32(n);
            let half = _mm256_srai_epi32::<1>(n);
            let rest = _mm256_sub_epi32(n, half);
            let low = _mm256_slli_epi32::<23>(_mm256_add_epi32(half, bias));
            let high = _mm256_slli_epi32::<23>(_mm256_add_epi32(rest, bias));
            _mm256_mul_ps(_mm256_mul_ps(a, _mm256_castsi256_ps(low)), _mm256_castsi256_ps(high))
        }
    }

    #[inline(always)]
    fn less(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` is proof that the processor has the instruction.
        unsafe { _mm256_cmp_ps::<_CMP_LT_OQ>(a, b) }
    }

    #[inline(always)]
    fn is_nan(self, a: __m256) -> __m256 {
        // SAFETY: `self` is proof that the processor has the instruction.
        unsafe { _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a) }
    }

    #[inline(always)]
    fn select(self, mask: __m256, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` is proof that the processor has the instruction.
        unsafe { _mm256_blendv_ps(b, a, mask) }
    }

    #[inline(always)]
    fn sum(self, a: __m256) -> f32 {
        // SAFETY: `self` is proof that the processor has the instructions.
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    #[inline(always)]
    fn max_lane(self, a: __m256) -> f32 {
        // SAFETY: `self` is proof that the processor has the instructions.
        unsafe {
            let four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }
}
