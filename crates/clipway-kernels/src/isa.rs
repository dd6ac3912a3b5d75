//! Instruction sets: which there are, which this processor has, and how a kernel enters one.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod byte_sums;
mod portable;
mod simd;
mod tile;

pub(crate) use byte_sums::{PRECISION, ROWS, STEP_BYTES, Step, round_to_byte, taps};
pub(crate) use simd::{Kernel, Simd, load, load_filled, store};
pub(crate) use tile::{MAX_TILE, MAX_TILE_ROWS, Tile};

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// AVX-512 F, BW, DQ and VL with FMA: 16 lanes of f32.
    Avx512,
    /// AVX2 with FMA and F16C: 8 lanes of f32.
    Avx2,
    /// Plain Rust that the compiler vectorises for the target's baseline: 4 lanes of f32.
    Portable,
}

impl Isa {
    /// Every instruction set, fastest first.
    pub const ALL: [Isa; 3] = [Isa::Avx512, Isa::Avx2, Isa::Portable];

    /// Returns the fastest instruction set of this processor.
    pub fn detect() -> Isa {
        Self::ALL.into_iter().find(|isa| isa.is_available()).unwrap_or(Isa::Portable)
    }

    /// Returns every instruction set that this processor has, fastest first.
    pub fn available() -> Vec<Isa> {
        Self::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// Tells whether this processor has the instruction set.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => avx512::Avx512::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::Avx2::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx512 | Isa::Avx2 => false,
            Isa::Portable => true,
        }
    }

    /// Returns the name used on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Avx512 => "avx512",
            Isa::Avx2 => "avx2",
            Isa::Portable => "portable",
        }
    }

    /// Returns the number of f32 lanes of a vector.
    pub(crate) const fn lanes(self) -> usize {
        match self {
            Isa::Avx512 => 16,
            Isa::Avx2 => 8,
            Isa::Portable => 4,
        }
    }

    /// Returns the rows of the register tile of a matrix product.
    ///
    /// Sums, a row of the panel and one value of A fill most of 32 registers of AVX-512, 16 of the others.
    pub(crate) const fn tile_rows(self) -> usize {
        match self {
            Isa::Avx512 => 8,
            Isa::Avx2 => 6,
            Isa::Portable => 4,
        }
    }

    /// Returns the vectors of a row of the register tile.
    pub(crate) const fn panel_vectors(self) -> usize {
        match self {
            Isa::Avx512 => 3,
            Isa::Avx2 | Isa::Portable => 2,
        }
    }

    /// Returns the columns of a panel of packed weights.
    pub(crate) const fn panel_width(self) -> usize {
        self.panel_vectors() * self.lanes()
    }

    /// Runs a kernel compiled for this instruction set.
    ///
    /// # Panics
    /// Where the processor lacks the instruction set; `Kernels::new` refuses those.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => avx512::Avx512::detect().expect("AVX-512 was detected").vectorize(kernel),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::Avx2::detect().expect("AVX2 was detected").vectorize(kernel),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx512 | Isa::Avx2 => unreachable!("x86 instruction sets are refused by Kernels::new"),
            Isa::Portable => portable::Portable.vectorize(kernel),
        }
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}
