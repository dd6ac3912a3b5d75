use crate::conv::{check_conv, each_conv};
use crate::draw::Draw;
use crate::{activate, assert_close, numbers};
use clipway_kernels::{
    Activation, Bf16Path, Epilogue, Image, Isa, Kernels, KernelsError, Matrix, MatrixMut, PackedMatrix,
    Residual, WeightLayout, Window,
};
use half::bf16;

/// Runs a check on every path of every instruction set of this machine, with one and with three threads.
fn for_each_path(check: impl Fn(&Kernels)) {
    for isa in Isa::available() {
        for path in Bf16Path::available(isa) {
            for threads in [1, 3] {
                let kernels = Kernels::new(isa, threads).expect("threads start");
                check(&kernels.with_bf16_path(path).expect("the path is available"));
            }
        }
    }
}

/// The nearest bf16, as an f32.
fn round(value: f32) -> f32 {
    bf16::from_f32(value).to_f32()
}

/// What a path multiplies where an input is this.
fn input_of(path: Bf16Path, value: f32) -> f32 {
    match path {
        Bf16Path::Avx512Bf16 => round(flush(value)),
        Bf16Path::Widening => value,
    }
}

/// Zero in place of a number that is too small for its exponent.
fn flush(value: f32) -> f32 {
    if value.is_subnormal() { 0.0 } else { value }
}

fn product(
    kernels: &Kernels,
    x: &[f32],
    rows: usize,
    weight: &PackedMatrix<bf16>,
    epilogue: Epilogue<'_>,
) -> Vec<f32> {
    let mut out = vec![f32::NAN; rows * weight.outputs()];
    let target = MatrixMut::new(&mut out, rows, weight.outputs());
    kernels.linear(Matrix::new(x, rows, weight.inputs()), weight, epilogue, target);
    out
}

/// The product with one weight per row of one value.
fn scaled(kernels: &Kernels, x: &[f32], weight: f32) -> Vec<f32> {
    let packed = kernels.pack_linear(&[weight], 1, 1, WeightLayout::OutIn);
    product(kernels, x, x.len(), &packed, Epilogue::default())
}

#[test]
fn sums_of_small_integers_are_exact_on_every_path() {
    let mut draw = Draw(1);
    for case in 0..3000 {
        // Thousands of small shapes; occasionally one with several tasks and blocks of sums.
        let most = if case % 300 == 0 { [150, 700, 200] } else { [10, 90, 60] };
        let [rows, inputs, outputs] = most.map(|most| draw.below(most) + 1);
        let mut integers = |count: usize| -> Vec<f32> {
            // With a limit of 64, the longest sum is below 2^24.
            (0..count).map(|_| draw.below(129) as f32 - 64.0).collect()
        };
        let (x, weight) = (integers(rows * inputs), integers(outputs * inputs));
        let row = |x: &[f32]| -> Vec<f32> {
            let output = |w: &[f32]| x.iter().zip(w).map(|(x, w)| (x * w) as i32).sum::<i32>() as f32;
            weight.chunks_exact(inputs).map(output).collect()
        };
        let expected: Vec<f32> = x.chunks_exact(inputs).flat_map(row).collect();
        let transposed: Vec<f32> =
            (0..inputs * outputs).map(|place| weight[place % outputs * inputs + place / outputs]).collect();
        for isa in Isa::available() {
            for path in Bf16Path::available(isa) {
                let kernels = Kernels::new(isa, 1).and_then(|kernels| kernels.with_bf16_path(path));
                let kernels = kernels.expect("available");
                for (weight, layout) in [(&weight, WeightLayout::OutIn), (&transposed, WeightLayout::InOut)] {
                    let weight = kernels.pack_linear(weight, outputs, inputs, layout);
                    let found = product(&kernels, &x, rows, &weight, Epilogue::default());
                    assert_eq!(found, expected, "{isa} {path:?} {layout:?} [{rows}, {inputs}, {outputs}]");
                }
            }
        }
    }
}

#[test]
fn products_are_those_of_rounded_numbers() {
    let mut draw = Draw(2);
    for case in 0..300 {
        let [rows, inputs, outputs] = [20, 600, 120].map(|most| draw.below(most) + 1);
        let mut x = numbers(rows * inputs, case);
        // Each row has a size of its own, and each output the inverse of one.
        for row in x.chunks_exact_mut(inputs) {
            let size = 2.0_f32.powi(draw.below(80) as i32 - 40);
            row.iter_mut().for_each(|value| *value *= size);
        }
        let weight = numbers(outputs * inputs, case + 1000);
        for_each_path(|kernels| {
            let path = kernels.bf16_path();
            let packed = kernels.pack_linear(&weight, outputs, inputs, WeightLayout::OutIn);
            let found = product(kernels, &x, rows, &packed, Epilogue::default());
            for (row, found) in found.chunks_exact(outputs).enumerate() {
                for (output, found) in found.iter().enumerate() {
                    let pairs = x[row * inputs..][..inputs].iter().zip(&weight[output * inputs..]);
                    let product = |(x, w): (&f32, &f32)| f64::from(input_of(path, *x)) * f64::from(round(*w));
                    let (mut sum, mut size) = (0.0, 0.0);
                    for product in pairs.map(product) {
                        sum += product;
                        size += product.abs();
                    }
                    let error = (f64::from(*found) - sum).abs();
                    assert!(error <= 2e-6 * size, "{kernels:?} [{rows}, {inputs}, {outputs}] {found} {sum}");
                }
            }
        });
    }
}

#[test]
fn every_input_is_rounded_to_the_nearest_and_even() {
    // All numbers of bf16 and what lies between: ties, and their neighbors.
    let lows = [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff];
    let x: Vec<f32> =
        (0..=0xffff_u32).flat_map(|high| lows.map(|low| f32::from_bits(high << 16 | low))).collect();
    for_each_path(|kernels| {
        let path = kernels.bf16_path();
        for (x, found) in x.iter().zip(scaled(kernels, &x, 1.0)) {
            let expected = input_of(path, *x);
            let equal = found == expected || found.is_nan() && expected.is_nan();
            assert!(equal, "{kernels:?} {path:?}: {x:e} gives {found:e}, not {expected:e}");
        }
    });
}

#[test]
fn the_instruction_takes_the_smallest_numbers_as_zero_and_widening_does_not() {
    let least = f32::MIN_POSITIVE;
    for_each_path(|kernels| {
        let or_zero = |value: f32| if kernels.bf16_path() == Bf16Path::Widening { value } else { 0.0 };
        // Inputs, weights and sums that are too small; the smallest that are not.
        assert_eq!(scaled(kernels, &[least / 2.0, least], 2.0), [or_zero(least), 2.0 * least], "{kernels:?}");
        assert_eq!(scaled(kernels, &[2.0], least / 2.0), [or_zero(least)], "{kernels:?}");
        assert_eq!(scaled(kernels, &[least], 0.5), [or_zero(least / 2.0)], "{kernels:?}");
    });
}

#[test]
fn numbers_that_are_not_finite_stay_in_their_rows() {
    let (rows, inputs, outputs) = (20, 33, 50);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for_each_path(|kernels| {
            let weight =
                kernels.pack_linear(&vec![3.0; inputs * outputs], outputs, inputs, WeightLayout::OutIn);
            let mut x = numbers(rows * inputs, 2);
            x[17 * inputs + 32] = bad;
            let found = product(kernels, &x, rows, &weight, Epilogue::default());
            for (row, values) in found.chunks(outputs).enumerate() {
                for value in values {
                    let right = if row == 17 {
                        value.total_cmp(&bad).is_eq() || value.is_nan() && bad.is_nan()
                    } else {
                        value.is_finite()
                    };
                    assert!(right, "{kernels:?} {bad}: {value} in row {row}");
                }
            }
        });
    }
}

#[test]
fn epilogues_follow_in_f32_and_a_row_does_not_depend_on_its_batch() {
    let (rows, inputs, outputs) = (150, 301, 101);
    let x: Vec<f32> = numbers(rows * inputs, 1).into_iter().map(round).collect();
    let weight: Vec<f32> = numbers(outputs * inputs, 2).into_iter().map(round).collect();
    let (bias, residual) = (numbers(outputs, 3), numbers(rows * outputs, 4));
    let mut expected = Vec::new();
    for (row, x) in x.chunks_exact(inputs).enumerate() {
        for (output, weight) in weight.chunks_exact(inputs).enumerate() {
            let sum: f64 = x.iter().zip(weight).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
            let value = activate(Activation::Gelu, sum + f64::from(bias[output]));
            expected.push(value + f64::from(residual[row * outputs + output]));
        }
    }
    for_each_path(|kernels| {
        let packed = kernels.pack_linear(&weight, outputs, inputs, WeightLayout::OutIn);
        let run = |rows: std::ops::Range<usize>| {
            let residual = &residual[rows.start * outputs..rows.end * outputs];
            let epilogue = Epilogue::bias(Some(&bias))
                .activation(Activation::Gelu)
                .residual(Residual::Matrix(Matrix::new(residual, rows.len(), outputs)));
            product(kernels, &x[rows.start * inputs..rows.end * inputs], rows.len(), &packed, epilogue)
        };
        let all = run(0..rows);
        assert_close(&all, &expected, 2e-6, &format!("{kernels:?}"));
        for row in [0, 7, 77, 149] {
            assert_eq!(run(row..row + 1), all[row * outputs..][..outputs], "{kernels:?}: row {row} alone");
        }
    });
}

#[test]
fn nothing_times_nothing_is_the_bias() {
    for_each_path(|kernels| {
        let weight = kernels.pack_linear(&[], 2, 0, WeightLayout::OutIn);
        let found = product(kernels, &[], 2, &weight, Epilogue::bias(Some(&[0.5, -0.5])));
        assert_eq!(found, [0.5, -0.5, 0.5, -0.5]);
        assert!(product(kernels, &[], 0, &weight, Epilogue::default()).is_empty());
    });
}

#[test]
fn convolutions_round_their_patches() {
    for_each_path(|kernels| {
        each_conv(|channels, groups, window| {
            check_conv::<bf16>(kernels, [7, 9], channels, groups, window, |weight| {
                let [inputs, outputs] = channels;
                kernels.pack_conv2d::<bf16>(weight, outputs, inputs, groups, window)
            });
        });
        let (size, inputs, outputs) = ([9, 8], 5, 40);
        let weight = numbers(outputs * inputs * 9, 1);
        let conv = kernels.pack_conv2d::<bf16>(&weight, outputs, inputs, 1, Window::square(3, 2, 1));
        let wide = kernels.pack_conv2d::<f32>(&weight, outputs, inputs, 1, Window::square(3, 2, 1));
        assert!(conv.bytes() < wide.bytes() * 6 / 10, "half the memory, and padding");
        let x = numbers(size[0] * size[1] * inputs, 2);
        let rounded: Vec<f32> = x.iter().copied().map(round).collect();
        let run = |x: &[f32]| {
            let mut out = vec![f32::NAN; 5 * 4 * outputs];
            kernels.conv2d(Image::new(x, 1, size, inputs), &conv, Epilogue::default(), &mut out);
            out
        };
        let is_rounded = kernels.bf16_path() == Bf16Path::Avx512Bf16;
        assert_eq!(run(&x) == run(&rounded), is_rounded, "{kernels:?}");
    });
}

#[test]
fn a_path_of_another_instruction_set_is_an_error_and_its_weights_are_refused() {
    for isa in Isa::available() {
        let kernels = Kernels::new(isa, 1).expect("available");
        assert_eq!(kernels.bf16_path(), Bf16Path::fastest(isa));
        assert!(Bf16Path::available(isa).contains(&Bf16Path::fastest(isa)));
        let is_amd = std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains("AuthenticAMD"));
        let pairs = is_amd && Bf16Path::Avx512Bf16.is_available(isa);
        assert_eq!(kernels.bf16_path() == Bf16Path::Avx512Bf16, pairs, "{isa}");
    }
    let kernels = Kernels::new(Isa::Portable, 1).expect("no threads");
    let error = kernels.with_bf16_path(Bf16Path::Avx512Bf16).expect_err("not portable");
    assert!(matches!(error, KernelsError::Bf16Path { isa: Isa::Portable, path: Bf16Path::Avx512Bf16 }));
    assert_eq!(error.to_string(), "`portable` has no instructions for Avx512Bf16 on this processor");
    if Bf16Path::Avx512Bf16.is_available(Isa::Avx512) {
        let kernels = Kernels::new(Isa::Avx512, 1).expect("available");
        let kernels = kernels.with_bf16_path(Bf16Path::Avx512Bf16).expect("available");
        let weight = kernels.pack_linear(&[1.0], 1, 1, WeightLayout::OutIn);
        let widening = kernels.with_bf16_path(Bf16Path::Widening).expect("always");
        let run = || product(&widening, &[1.0], 1, &weight, Epilogue::default());
        let run = std::panic::AssertUnwindSafe(run);
        assert!(std::panic::catch_unwind(run).is_err(), "weights in pairs are not widened");
    }
}
