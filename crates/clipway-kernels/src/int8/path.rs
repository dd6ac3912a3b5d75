//! Which instructions multiply int8.

use crate::isa::Isa;

/// The instructions that products of int8 are computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Int8Path {
    /// `vpdpbusd` on 512 bits.
    Avx512Vnni,
    /// `vpdpbusd` on 256 bits, as processors without AVX-512 have it.
    AvxVnni,
    /// `vpmaddwd` on 256 bits, after widening to 16 bits: `vpmaddubsw` would saturate.
    Avx2,
    /// Plain Rust.
    Portable,
}

impl Int8Path {
    /// Every path, fastest first.
    pub const ALL: [Int8Path; 4] =
        [Int8Path::Avx512Vnni, Int8Path::AvxVnni, Int8Path::Avx2, Int8Path::Portable];

    /// Returns every path that this processor has, fastest first.
    pub fn available() -> Vec<Int8Path> {
        Self::ALL.into_iter().filter(|path| path.is_available()).collect()
    }

    /// Tells whether this processor has the instructions.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Int8Path::Avx512Vnni => super::x86::Avx512Vnni::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Int8Path::AvxVnni => super::x86::AvxVnni::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Int8Path::Avx512Vnni | Int8Path::AvxVnni => false,
            Int8Path::Avx2 | Int8Path::Portable => self.isa().is_available(),
        }
    }

    /// Returns the fastest path of this processor among those of an instruction set or a narrower one.
    pub fn fastest(isa: Isa) -> Int8Path {
        let within = |path: &Int8Path| path.isa().lanes() <= isa.lanes() && path.is_available();
        Self::ALL.into_iter().find(within).unwrap_or(Int8Path::Portable)
    }

    /// Returns the instruction set of everything in f32 around the product.
    pub(crate) const fn isa(self) -> Isa {
        match self {
            Int8Path::Avx512Vnni => Isa::Avx512,
            Int8Path::AvxVnni | Int8Path::Avx2 => Isa::Avx2,
            Int8Path::Portable => Isa::Portable,
        }
    }

    /// Returns the inputs that are multiplied together, side by side in packed weights.
    pub(crate) const fn group(self) -> usize {
        match self {
            Int8Path::Avx512Vnni | Int8Path::AvxVnni => 4,
            Int8Path::Avx2 | Int8Path::Portable => 2,
        }
    }

    /// Returns what is added to quantized inputs: `vpdpbusd` takes unsigned ones.
    pub(crate) const fn offset(self) -> i32 {
        match self {
            Int8Path::Avx512Vnni | Int8Path::AvxVnni => 128,
            Int8Path::Avx2 | Int8Path::Portable => 0,
        }
    }
}
