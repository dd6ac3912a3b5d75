//! The instructions that multiply bf16.

use crate::isa::Isa;

/// How products with weights in bf16 are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bf16Path {
    /// `vdpbf16ps` on 512 bits. Inputs are rounded to the nearest bf16, ties to even; infinities and NaN stay what they are. The
    /// instruction takes numbers below 2^-126 in magnitude as zeros of their sign, inputs and weights alike, and gives zero
    /// where a sum is that small.
    Avx512Bf16,
    /// The f32 product of any instruction set: weights are widened, which is exact, and inputs are not rounded.
    Widening,
}

impl Bf16Path {
    /// Every path; the instruction first.
    pub const ALL: [Bf16Path; 2] = [Bf16Path::Avx512Bf16, Bf16Path::Widening];

    /// Returns the paths of this processor with an instruction set.
    pub fn available(isa: Isa) -> Vec<Bf16Path> {
        Self::ALL.into_iter().filter(|path| path.is_available(isa)).collect()
    }

    /// Returns whether this processor has the path with an instruction set.
    pub fn is_available(self, isa: Isa) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Bf16Path::Avx512Bf16 => isa == Isa::Avx512 && super::x86::Avx512Bf16::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Bf16Path::Avx512Bf16 => false,
            Bf16Path::Widening => isa.is_available(),
        }
    }

    /// Returns the path that an instruction set takes on this processor: the instruction on processors of vendors that issue it
    /// as often as an f32 product, which are AMD's, and widening on all others. Intel's issue it at a quarter of that rate, so that
    /// it is half as fast (measured on Emerald Rapids), since they have AMX for such products.
    pub fn fastest(isa: Isa) -> Bf16Path {
        let fits =
            |path: &Bf16Path| path.is_available(isa) && (*path == Bf16Path::Widening || is_full_rate());
        Self::ALL.into_iter().find(fits).unwrap_or(Bf16Path::Widening)
    }

    /// Returns how many inputs are multiplied together; they are adjacent in packed weights.
    pub(crate) const fn group(self) -> usize {
        match self {
            Bf16Path::Avx512Bf16 => 2,
            Bf16Path::Widening => 1,
        }
    }
}

/// Whether the processor's vendor issues `vdpbf16ps` as often as an f32 product.
#[cfg(target_arch = "x86_64")]
fn is_full_rate() -> bool {
    *b"AuthenticAMD" == super::x86::vendor()
}

#[cfg(not(target_arch = "x86_64"))]
fn is_full_rate() -> bool {
    false
}
