//! The instruction sets, and the sizes that kernels derive from them.

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// AVX-512 F, BW, DQ and VL with FMA: 16 lanes of f32.
    Avx512,
    /// AVX2 with FMA and F16C: 8 lanes of f32.
    Avx2,
    /// NEON of a 64-bit ARM processor, which has FMA: 4 lanes of f32.
    Neon,
    /// Plain Rust that the compiler vectorizes for the target's baseline: 4 lanes of f32.
    Portable,
}

impl Isa {
    /// Every instruction set, fastest first.
    pub const ALL: [Isa; 4] = [Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Portable];

    /// Returns the name used on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Avx512 => "avx512",
            Isa::Avx2 => "avx2",
            Isa::Neon => "neon",
            Isa::Portable => "portable",
        }
    }

    /// Returns the number of f32 lanes in a vector.
    pub(crate) const fn lanes(self) -> usize {
        match self {
            Isa::Avx512 => 16,
            Isa::Avx2 => 8,
            Isa::Neon | Isa::Portable => 4,
        }
    }

    /// Returns the rows of the register tile of a matrix product.
    ///
    /// The sums, one row of the panel and one value of A fill most of the 32 registers of AVX-512 and NEON, or the
    /// others' 16.
    pub(crate) const fn tile_rows(self) -> usize {
        match self {
            Isa::Avx512 => 8,
            Isa::Avx2 | Isa::Neon => 6,
            Isa::Portable => 4,
        }
    }

    /// Returns the vectors per row of the register tile.
    pub(crate) const fn panel_vectors(self) -> usize {
        match self {
            Isa::Neon => 4,
            Isa::Avx512 => 3,
            Isa::Avx2 | Isa::Portable => 2,
        }
    }

    /// Returns the columns per panel of packed weights.
    pub(crate) const fn panel_width(self) -> usize {
        self.panel_vectors() * self.lanes()
    }

    /// Returns the outputs of a panel.
    #[inline(always)]
    pub(crate) fn panel(self, index: usize, outputs: usize) -> std::ops::Range<usize> {
        let first = index * self.panel_width();
        first..outputs.min(first + self.panel_width())
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}
