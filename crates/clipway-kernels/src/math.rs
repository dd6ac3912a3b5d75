//! Elementary functions over vectors, accurate to about 1e-7.
//!
//! The polynomials are minimax fits made for this project (iteratively reweighted least squares).

use crate::isa::Simd;

/// Coefficients of `(exp(r) - 1 - r) / r²` for |r| ≤ ln(2)/2, constant first; error 3e-9.
const EXP: [f32; 5] = [0.499_999_94, 0.166_665_21, 0.041_668_39, 0.008_368_717, 0.001_381_459_9];

/// Coefficients of `-log2(2 Φ(-a)) / a` for 0 < a ≤ 6.2, constant first; error of Φ 4e-10.
const NORMAL_TAIL: [f32; 11] = [
    1.151_104_1,
    0.459_224_1,
    0.052_419_513,
    -0.006_890_225_7,
    -7.474_609_4e-5,
    3.355_937_7e-4,
    -1.015_278_3e-4,
    1.781_204_8e-5,
    -1.971_841e-6,
    1.277_680_3e-7,
    -3.696_580_6e-9,
];

/// The point beyond which Φ(-a) counts as zero: 6.2 Φ(-6.2) is 2e-9.
const NORMAL_LIMIT: f32 = 6.2;

/// Coefficients of `(tanh(x) - x) / x³` in x², for |x| ≤ 0.7, constant first; error 7e-10.
const TANH: [f32; 6] =
    [-0.333_333_25, 0.133_329_84, -0.053_920_95, 0.021_571_05, -0.007_883_287, 0.001_895_649_2];

/// Evaluates a polynomial, constant first.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(simd: S, coefficients: [f32; N], x: S::Vector) -> S::Vector {
    let mut value = simd.splat(coefficients[N - 1]);
    for index in (0..N - 1).rev() {
        value = simd.fma(value, x, simd.splat(coefficients[index]));
    }
    value
}

/// Returns `exp(r) * 2^n` for |r| ≤ ln(2)/2.
#[inline(always)]
fn exp_reduced<S: Simd>(simd: S, r: S::Vector, n: S::Vector) -> S::Vector {
    let square = simd.mul(r, r);
    let value = simd.add(simd.fma(square, polynomial(simd, EXP, r), r), simd.splat(1.0));
    simd.scale(value, n)
}

/// Returns `e^x`.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    // ln(2) in two parts; the first has few enough bits that its products with n are exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = simd.min(simd.splat(89.0), simd.max(simd.splat(-104.0), x));
    let n = simd.round(simd.mul(x, simd.splat(std::f32::consts::LOG2_E)));
    let r = simd.fma(n, simd.splat(-LN2_HIGH), x);
    let r = simd.fma(n, simd.splat(-LN2_LOW), r);
    exp_reduced(simd, r, n)
}

/// Returns `2^x` for -126 ≤ x ≤ 127.
#[inline(always)]
fn exp2<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    let n = simd.round(x);
    let r = simd.mul(simd.sub(x, n), simd.splat(std::f32::consts::LN_2));
    exp_reduced(simd, r, n)
}

/// Returns `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    let one = simd.splat(1.0);
    simd.div(one, simd.add(one, exp(simd, simd.sub(simd.splat(0.0), x))))
}

/// Returns `x * Φ(x)`.
///
/// Computes the smaller tail Φ(-|x|) and takes the larger as its complement, so that neither cancels.
#[inline(always)]
pub(crate) fn gelu<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    let zero = simd.splat(0.0);
    let magnitude = simd.abs(x);
    let limit = simd.splat(NORMAL_LIMIT);
    let a = simd.min(limit, magnitude);
    let exponent = simd.fma(polynomial(simd, NORMAL_TAIL, a), a, simd.splat(1.0));
    let tail = exp2(simd, simd.sub(zero, exponent));
    let tail = simd.select(simd.less(limit, magnitude), zero, tail);
    let phi = simd.select(simd.less(x, zero), tail, simd.sub(simd.splat(1.0), tail));
    simd.mul(x, phi)
}

/// Returns `x / 2 * (1 + tanh(√(2/π) (x + 0.044715 x³)))`, computed as `x * sigmoid` of twice the argument.
#[inline(always)]
pub(crate) fn gelu_tanh<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    const SCALE: f32 = 1.595_769;
    let square = simd.mul(x, x);
    let factor = simd.fma(square, simd.splat(SCALE * 0.044_715), simd.splat(SCALE));
    simd.mul(x, sigmoid(simd, simd.mul(x, factor)))
}

/// Returns `tanh(x)`.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    let zero = simd.splat(0.0);
    let one = simd.splat(1.0);
    let magnitude = simd.abs(x);
    let square = simd.mul(x, x);
    let small = simd.fma(simd.mul(square, x), polynomial(simd, TANH, square), x);
    let double = simd.add(magnitude, magnitude);
    let large = simd.sub(one, simd.div(simd.splat(2.0), simd.add(exp(simd, double), one)));
    let large = simd.select(simd.less(x, zero), simd.sub(zero, large), large);
    simd.select(simd.less(magnitude, simd.splat(0.7)), small, large)
}
