//! Instruction sets: the supported ones, those of this processor, and how a kernel enters one.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod byte_sums;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod set;
mod simd;
mod tile;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use byte_sums::{PRECISION, ROWS, STEP_BYTES, Step, round_to_byte, taps};
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use portable::Portable;
pub use set::Isa;
pub(crate) use simd::{Kernel, Simd, load, load_filled, store};
pub(crate) use tile::{Ahead, MAX_TILE, MAX_TILE_ROWS, Multiply, Tile, Widen, Widening};

impl Isa {
    /// Returns the fastest instruction set of this processor.
    pub fn detect() -> Isa {
        Self::ALL.into_iter().find(|isa| isa.is_available()).unwrap_or(Isa::Portable)
    }

    /// Returns all instruction sets of this processor, fastest first.
    pub fn available() -> Vec<Isa> {
        Self::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// Returns whether this processor has the instruction set.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => avx512::Avx512::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::Avx2::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx512 | Isa::Avx2 => false,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => neon::Neon::detect().is_some(),
            #[cfg(not(target_arch = "aarch64"))]
            Isa::Neon => false,
            Isa::Portable => true,
        }
    }

    /// Runs a kernel compiled for this instruction set.
    ///
    /// # Panics
    /// If the processor lacks the instruction set; `Kernels::new` refuses those.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => avx512::Avx512::detect().expect("AVX-512 was detected").vectorize(kernel),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::Avx2::detect().expect("AVX2 was detected").vectorize(kernel),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx512 | Isa::Avx2 => unreachable!("x86 instruction sets are refused by Kernels::new"),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => neon::Neon::detect().expect("NEON was detected").vectorize(kernel),
            #[cfg(not(target_arch = "aarch64"))]
            Isa::Neon => unreachable!("NEON is refused by Kernels::new"),
            Isa::Portable => portable::Portable.vectorize(kernel),
        }
    }
}
