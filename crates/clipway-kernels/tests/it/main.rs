//! Every kernel, in every instruction set of this machine, against plain f64 loops.

// Tests and tools read and write their own files.
#![allow(clippy::disallowed_methods)]

mod attention;
mod bf16;
mod conv;
mod draw;
mod int8;
mod linear;
mod resize;
mod rows;
mod scan;

use clipway_kernels::{Activation, Isa, Kernels};

/// Runs a check with the kernels of every instruction set, with one and with three threads.
fn for_each_kernels(check: impl Fn(&Kernels)) {
    for isa in Isa::available() {
        for threads in [1, 3] {
            check(&Kernels::new(isa, threads).expect("threads start"));
        }
    }
}

/// Pseudorandom numbers between -1 and 1, determined by the seed.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Compares values with the truth: `|found - expected| <= tolerance * scale`; NaN equals only NaN.
#[track_caller]
fn assert_close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    let scale = expected.iter().filter(|value| value.is_finite()).fold(1.0, |a: f64, b| a.max(b.abs()));
    for (index, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let close = match (f64::from(found).is_nan(), expected.is_nan()) {
            (false, false) => {
                f64::from(found) == expected || (f64::from(found) - expected).abs() <= tolerance * scale
            }
            (found, expected) => found == expected,
        };
        assert!(close, "{what}: at {index} expected {expected}, found {found}, scale {scale}");
    }
}

/// The error function by its series, or by its continued fraction where that converges faster.
fn erf(x: f64) -> f64 {
    let a = x.abs();
    let value = if a < 3.0 {
        let (mut term, mut sum, mut n) = (a, a, 0.0);
        while term.abs() > 1e-18 * sum.abs() {
            n += 1.0;
            term *= -a * a / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    } else {
        let fraction = (1..80).rev().fold(0.0, |fraction, n| f64::from(n) / 2.0 / (a + fraction));
        1.0 - (-a * a).exp() / (a + fraction) / std::f64::consts::PI.sqrt()
    };
    value.copysign(x)
}

/// The exact activations.
fn activate(activation: Activation, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match activation {
        Activation::Identity => x,
        Activation::Relu if x.is_nan() => x,
        Activation::Relu => x.max(0.0),
        Activation::Gelu => x * 0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }
        Activation::QuickGelu => x * sigmoid(1.702 * x),
        Activation::Silu => x * sigmoid(x),
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
    }
}

#[test]
fn an_instruction_set_or_threads_that_are_not_there_are_errors() {
    assert!(Isa::available().contains(&Isa::Portable) && Isa::available().contains(&Isa::detect()));
    let error = Kernels::new(Isa::Portable, 0).expect_err("no threads");
    assert_eq!(error.to_string(), "expected at least one thread, found 0");
    for isa in Isa::ALL {
        assert_eq!(Kernels::new(isa, 1).is_ok(), isa.is_available());
    }
}
