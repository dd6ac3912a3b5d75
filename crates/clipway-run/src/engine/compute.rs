//! What products are computed in.

/// What the products of linear layers and convolutions are computed in. Everything between them is in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compute {
    /// Weights that are stored in int8 as [`Compute::Int8`], all others as [`Compute::F32`].
    #[default]
    AsStored,
    /// Weights and products in f32.
    F32,
    /// Weights rounded to bf16, which halves their memory, and sums in f32; [`super::Bf16Products`] says how. Convolutions of
    /// single channels, those computed by Winograd's way, and attention stay in f32.
    Bf16,
    /// Weights in int8 with a scale for each output; inputs quantized to int8 with a scale for each row as they come.
    /// Sums are exact integers, so an instruction set changes no product. Convolutions of single channels stay in f32.
    Int8,
}

impl Compute {
    /// Every precision, widest first.
    pub const ALL: [Compute; 4] = [Compute::AsStored, Compute::F32, Compute::Bf16, Compute::Int8];

    /// Name as printed.
    pub fn name(self) -> &'static str {
        match self {
            Compute::AsStored => "as stored",
            Compute::F32 => "f32",
            Compute::Bf16 => "bf16",
            Compute::Int8 => "int8",
        }
    }
}
