//! The instructions that multiply int8.

use crate::isa::Isa;

/// The instructions used for int8 products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Int8Path {
    /// `vpdpbusd` on 512 bits.
    Avx512Vnni,
    /// `vpdpbusd` on 256 bits, for processors without AVX-512.
    AvxVnni,
    /// `vpmaddwd` on 256 bits, after widening to 16 bits, since `vpmaddubsw` would saturate.
    Avx2,
    /// Plain Rust.
    Portable,
}

impl Int8Path {
    /// Every path, fastest first.
    pub const ALL: [Int8Path; 4] =
        [Int8Path::Avx512Vnni, Int8Path::AvxVnni, Int8Path::Avx2, Int8Path::Portable];

    /// Returns all paths of this processor, fastest first.
    pub fn available() -> Vec<Int8Path> {
        Self::ALL.into_iter().filter(|path| path.is_available()).collect()
    }

    /// Returns whether this processor has the instructions.
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

    /// Returns the fastest path of this processor that is no wider than an instruction set.
    pub fn fastest(isa: Isa) -> Int8Path {
        let within = |path: &Int8Path| path.isa().lanes() <= isa.lanes() && path.is_available();
        Self::ALL.into_iter().find(within).unwrap_or(Int8Path::Portable)
    }

    /// Returns the instruction set used for the f32 work around the product.
    pub(crate) const fn isa(self) -> Isa {
        match self {
            Int8Path::Avx512Vnni => Isa::Avx512,
            Int8Path::AvxVnni | Int8Path::Avx2 => Isa::Avx2,
            Int8Path::Portable => Isa::Portable,
        }
    }

    /// Returns how many inputs are multiplied together; they are adjacent in packed weights.
    pub(crate) const fn group(self) -> usize {
        match self {
            Int8Path::Avx512Vnni | Int8Path::AvxVnni => 4,
            Int8Path::Avx2 | Int8Path::Portable => 2,
        }
    }

    /// Returns the offset added to quantized inputs, since `vpdpbusd` takes unsigned ones.
    pub(crate) const fn offset(self) -> i32 {
        match self {
            Int8Path::Avx512Vnni | Int8Path::AvxVnni => 128,
            Int8Path::Avx2 | Int8Path::Portable => 0,
        }
    }
}
