//! Vectors of four f32 in plain Rust, for processors without a hand-picked instruction set.

use super::Isa;
use super::simd::{Kernel, Simd};
use half::bf16;

/// The instruction set available on every target.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

const LANES: usize = Isa::Portable.lanes();

/// Returns `a * b + c`, fused only if the target's baseline has the instruction.
#[inline(always)]
fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_arch = "aarch64", target_feature = "fma")) { a.mul_add(b, c) } else { a * b + c }
}

/// Applies a function of two values lane by lane.
#[inline(always)]
fn zip(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    std::array::from_fn(|lane| f(a[lane], b[lane]))
}

/// Returns 2^n for integral n in -126..=127.
#[inline(always)]
fn power_of_two(n: f32) -> f32 {
    f32::from_bits(((n as i32 + 127) as u32) << 23)
}

#[allow(unsafe_code)]
impl Simd for Portable {
    type Vector = [f32; LANES];
    type Mask = [bool; LANES];
    const ISA: Isa = Isa::Portable;

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Vector {
        [value; LANES]
    }

    #[inline(always)]
    fn load(self, values: &[f32]) -> Self::Vector {
        std::array::from_fn(|lane| values[..LANES][lane])
    }

    #[inline(always)]
    fn load_part(self, values: &[f32], fill: f32) -> Self::Vector {
        std::array::from_fn(|lane| values.get(lane).copied().unwrap_or(fill))
    }

    #[inline(always)]
    fn store(self, values: &mut [f32], vector: Self::Vector) {
        values[..LANES].copy_from_slice(&vector);
    }

    #[inline(always)]
    fn store_part(self, values: &mut [f32], vector: Self::Vector) {
        for (place, value) in values.iter_mut().zip(vector) {
            *place = value;
        }
    }

    #[inline(always)]
    unsafe fn load_pointer(self, values: *const f32) -> Self::Vector {
        // SAFETY: the caller promises LANES readable values; the read is unaligned.
        unsafe { values.cast::<[f32; LANES]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn load_bf16_pointer(self, values: *const bf16) -> Self::Vector {
        // SAFETY: the caller promises LANES readable values; the read is unaligned.
        unsafe { values.cast::<[bf16; LANES]>().read_unaligned() }.map(bf16::to_f32)
    }

    #[inline(always)]
    unsafe fn store_pointer(self, values: *mut f32, vector: Self::Vector) {
        // SAFETY: the caller promises LANES writable values; the write is unaligned.
        unsafe { values.cast::<[f32; LANES]>().write_unaligned(vector) }
    }

    #[inline(always)]
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        zip(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        zip(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        zip(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        zip(a, b, |a, b| a / b)
    }

    #[inline(always)]
    fn fma(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        std::array::from_fn(|lane| multiply_add(a[lane], b[lane], c[lane]))
    }

    #[inline(always)]
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        zip(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        zip(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn abs(self, a: Self::Vector) -> Self::Vector {
        a.map(f32::abs)
    }

    #[inline(always)]
    fn round(self, a: Self::Vector) -> Self::Vector {
        // Adding and subtracting 1.5 * 2^23 yields the nearest integer for |a| < 2^22, with plain additions on any
        // target. The callers stay within that range.
        const SHIFT: f32 = 12_582_912.0;
        a.map(|a| (a + SHIFT) - SHIFT)
    }

    #[inline(always)]
    fn scale(self, a: Self::Vector, n: Self::Vector) -> Self::Vector {
        zip(a, n, |a, n| {
            let half = ((n as i32) >> 1) as f32;
            a * power_of_two(half) * power_of_two(n - half)
        })
    }

    #[inline(always)]
    fn less(self, a: Self::Vector, b: Self::Vector) -> Self::Mask {
        std::array::from_fn(|lane| a[lane] < b[lane])
    }

    #[inline(always)]
    fn is_nan(self, a: Self::Vector) -> Self::Mask {
        a.map(f32::is_nan)
    }

    #[inline(always)]
    fn select(self, mask: Self::Mask, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        std::array::from_fn(|lane| if mask[lane] { a[lane] } else { b[lane] })
    }

    #[inline(always)]
    fn sum(self, a: Self::Vector) -> f32 {
        (a[0] + a[2]) + (a[1] + a[3])
    }

    #[inline(always)]
    fn max_lane(self, a: Self::Vector) -> f32 {
        a[0].max(a[1]).max(a[2].max(a[3]))
    }
}
