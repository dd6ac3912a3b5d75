//! Vectors of four f32 in NEON.

use super::Isa;
use super::simd::{Kernel, Simd};
use half::bf16;
use std::arch::aarch64::*;
use std::arch::is_aarch64_feature_detected;

/// Proof that the processor has NEON.
#[derive(Clone, Copy)]
pub(crate) struct Neon(());

const LANES: usize = Isa::Neon.lanes();

impl Neon {
    /// Returns the proof if the processor has the instruction set.
    #[inline]
    pub(crate) fn detect() -> Option<Self> {
        is_aarch64_feature_detected!("neon").then_some(Neon(()))
    }
}

/// Runs a kernel in a function compiled for NEON.
#[target_feature(enable = "neon")]
fn enter<K: Kernel>(simd: Neon, kernel: K) -> K::Output {
    kernel.run(simd)
}

/// Defines operations that are one intrinsic each.
macro_rules! intrinsics {
    ($($name:ident($($argument:ident),*) = $intrinsic:ident;)*) => {$(
        #[inline(always)]
        fn $name(self, $($argument: float32x4_t),*) -> float32x4_t {
            // SAFETY: `self` is proof that the processor has the instruction.
            unsafe { $intrinsic($($argument),*) }
        }
    )*};
}

#[allow(unsafe_code)]
impl Simd for Neon {
    type Vector = float32x4_t;
    type Mask = uint32x4_t;
    const ISA: Isa = Isa::Neon;

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: `self` is proof that the processor has the feature that `enter` enables.
        unsafe { enter(self, kernel) }
    }

    intrinsics! {
        add(a, b) = vaddq_f32;
        sub(a, b) = vsubq_f32;
        mul(a, b) = vmulq_f32;
        div(a, b) = vdivq_f32;
        abs(a) = vabsq_f32;
        round(a) = vrndnq_f32;
    }

    #[inline(always)]
    fn fma(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: `self` is proof that the processor has the instruction.
        unsafe { vfmaq_f32(c, a, b) }
    }

    // The instructions for the greater and the smaller number treat NaN in other ways.

    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: `self` is proof that the processor has the instructions.
        unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
    }

    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: `self` is proof that the processor has the instructions.
        unsafe { vbslq_f32(vcltq_f32(a, b), a, b) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> float32x4_t {
        // SAFETY: `self` is proof that the processor has the instruction.
        unsafe { vdupq_n_f32(value) }
    }

    #[inline(always)]
    fn load(self, values: &[f32]) -> float32x4_t {
        // SAFETY: `self` is proof of the instruction; the slice was cut to LANES values.
        unsafe { vld1q_f32(values[..LANES].as_ptr()) }
    }

    #[inline(always)]
    fn load_part(self, values: &[f32], fill: f32) -> float32x4_t {
        let mut lanes = [fill; LANES];
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane = *value;
        }
        self.load(&lanes)
    }

    #[inline(always)]
    fn store(self, values: &mut [f32], vector: float32x4_t) {
        // SAFETY: `self` is proof of the instruction; the slice was cut to LANES values.
        unsafe { vst1q_f32(values[..LANES].as_mut_ptr(), vector) }
    }

    #[inline(always)]
    fn store_part(self, values: &mut [f32], vector: float32x4_t) {
        let mut lanes = [0.0; LANES];
        self.store(&mut lanes, vector);
        for (place, lane) in values.iter_mut().zip(lanes) {
            *place = lane;
        }
    }

    #[inline(always)]
    unsafe fn load_pointer(self, values: *const f32) -> float32x4_t {
        // SAFETY: `self` is proof of the instruction; the caller promises LANES readable values.
        unsafe { vld1q_f32(values) }
    }

    #[inline(always)]
    unsafe fn load_bf16_pointer(self, values: *const bf16) -> float32x4_t {
        // SAFETY: `self` is proof of the instructions; the caller promises LANES readable values.
        unsafe { vreinterpretq_f32_u32(vshlq_n_u32::<16>(vmovl_u16(vld1_u16(values.cast())))) }
    }

    #[inline(always)]
    unsafe fn store_pointer(self, values: *mut f32, vector: float32x4_t) {
        // SAFETY: `self` is proof of the instruction; the caller promises LANES writable values.
        unsafe { vst1q_f32(values, vector) }
    }

    #[inline(always)]
    fn scale(self, a: float32x4_t, n: float32x4_t) -> float32x4_t {
        // SAFETY: `self` is proof that the processor has the instructions.
        unsafe {
            let bias = vdupq_n_s32(127);
            let n = vcvtq_s32_f32(n);
            let half = vshrq_n_s32::<1>(n);
            let rest = vsubq_s32(n, half);
            let low = vshlq_n_s32::<23>(vaddq_s32(half, bias));
            let high = vshlq_n_s32::<23>(vaddq_s32(rest, bias));
            vmulq_f32(vmulq_f32(a, vreinterpretq_f32_s32(low)), vreinterpretq_f32_s32(high))
        }
    }

    #[inline(always)]
    fn less(self, a: float32x4_t, b: float32x4_t) -> uint32x4_t {
        // SAFETY: `self` is proof that the processor has the instruction.
        unsafe { vcltq_f32(a, b) }
    }

    #[inline(always)]
    fn is_nan(self, a: float32x4_t) -> uint32x4_t {
        // SAFETY: `self` is proof that the processor has the instructions.
        unsafe { vmvnq_u32(vceqq_f32(a, a)) }
    }

    #[inline(always)]
    fn select(self, mask: uint32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: `self` is proof that the processor has the instruction.
        unsafe { vbslq_f32(mask, a, b) }
    }

    #[inline(always)]
    fn sum(self, a: float32x4_t) -> f32 {
        // SAFETY: `self` is proof that the processor has the instructions.
        unsafe { vpadds_f32(vadd_f32(vget_low_f32(a), vget_high_f32(a))) }
    }

    #[inline(always)]
    fn max_lane(self, a: float32x4_t) -> f32 {
        // SAFETY: `self` is proof that the processor has the instruction.
        unsafe { vmaxnmvq_f32(a) }
    }
}
