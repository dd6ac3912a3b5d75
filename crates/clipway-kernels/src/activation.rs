//! Activation functions.

use crate::isa::Simd;
use crate::math;

/// A function applied to every value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x`.
    #[default]
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `x * Φ(x)` with the exact Φ of the normal distribution.
    Gelu,
    /// `x / 2 * (1 + tanh(√(2/π) (x + 0.044715 x³)))`.
    GeluTanh,
    /// `x * sigmoid(1.702 x)`.
    QuickGelu,
    /// `x * sigmoid(x)`.
    Silu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `tanh(x)`.
    Tanh,
}

impl Activation {
    /// Applies the function to a vector.
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(self, simd: S, x: S::Vector) -> S::Vector {
        match self {
            Activation::Identity => x,
            Activation::Relu => simd.max(simd.splat(0.0), x),
            Activation::Gelu => math::gelu(simd, x),
            Activation::GeluTanh => math::gelu_tanh(simd, x),
            Activation::QuickGelu => simd.mul(x, math::sigmoid(simd, simd.mul(x, simd.splat(1.702)))),
            Activation::Silu => simd.mul(x, math::sigmoid(simd, x)),
            Activation::Sigmoid => math::sigmoid(simd, x),
            Activation::Tanh => math::tanh(simd, x),
        }
    }

    /// Returns the rough cost of one value in f32 operations.
    pub(crate) fn work(self) -> usize {
        match self {
            Activation::Identity | Activation::Relu => 1,
            _ => 30,
        }
    }
}
