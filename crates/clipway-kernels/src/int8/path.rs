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
    /// `sdot` on 128 bits, for 64-bit ARM processors with dot products.
    NeonDot,
    /// `smull` and `sadalp` on 128 bits, for those without.
    Neon,
    /// Plain Rust.
    Portable,
}

impl Int8Path {
    /// Every path, fastest first.
    pub const ALL: [Int8Path; 6] = [
        Int8Path::Avx512Vnni,
        Int8Path::AvxVnni,
        Int8Path::Avx2,
        Int8Path::NeonDot,
        Int8Path::Neon,
        Int8Path::Portable,
    ];

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
            #[cfg(target_arch = "aarch64")]
            Int8Path::NeonDot => super::arm::NeonDot::detect().is_some(),
            #[cfg(not(target_arch = "aarch64"))]
            Int8Path::NeonDot => false,
            Int8Path::Avx2 | Int8Path::Neon | Int8Path::Portable => self.isa().is_available(),
        }
    }

    /// Returns the fastest path of this processor that computes with an instruction set, or with a narrower one.
    pub fn fastest(isa: Isa) -> Int8Path {
        let within = |path: Isa| path == isa || path.lanes() < isa.lanes();
        let fits = |path: &Int8Path| within(path.isa()) && path.is_available();
        Self::ALL.into_iter().find(fits).unwrap_or(Int8Path::Portable)
    }

    /// Returns the instruction set used for the f32 work around the product.
    pub(crate) const fn isa(self) -> Isa {
        match self {
            Int8Path::Avx512Vnni => Isa::Avx512,
            Int8Path::AvxVnni | Int8Path::Avx2 => Isa::Avx2,
            Int8Path::NeonDot | Int8Path::Neon => Isa::Neon,
            Int8Path::Portable => Isa::Portable,
        }
    }

    /// Returns how many inputs are multiplied together; they are adjacent in packed weights.
    pub(crate) const fn group(self) -> usize {
        match self {
            Int8Path::Avx512Vnni | Int8Path::AvxVnni | Int8Path::NeonDot => 4,
            Int8Path::Avx2 | Int8Path::Neon | Int8Path::Portable => 2,
        }
    }

    /// Returns the rows and vectors of queries of the register tile of a scan.
    ///
    /// Most of the 32 registers of AVX-512 are sums; with more rows than in a product's tile, panels are so narrow that two
    /// make 64 queries, and a panel and the rows stay in the first cache.
    pub(crate) const fn scan_tile(self) -> (usize, usize) {
        match self {
            Int8Path::Avx512Vnni => (12, 2),
            _ => (self.isa().tile_rows(), self.isa().panel_vectors()),
        }
    }

    /// Returns the offset added to quantized inputs, since `vpdpbusd` takes unsigned ones.
    pub(crate) const fn offset(self) -> i32 {
        match self {
            Int8Path::Avx512Vnni | Int8Path::AvxVnni => 128,
            Int8Path::Avx2 | Int8Path::NeonDot | Int8Path::Neon | Int8Path::Portable => 0,
        }
    }
}
