use crate::conv::{each_conv, each_tap};
use crate::draw::Draw;
use crate::numbers;
use clipway_kernels::{
    Activation, Epilogue, Image, Int8Path, Isa, Kernels, MOST_INT8_INPUTS, Matrix, MatrixMut, PackedInt8,
    Residual, Window, quantize_weights,
};

/// Runs a check on every path of this machine, with one and with three threads.
fn for_each_path(check: impl Fn(&Kernels)) {
    for path in Int8Path::available() {
        for threads in [1, 3] {
            let kernels = Kernels::new(Isa::detect(), threads).expect("threads start");
            check(&kernels.with_int8_path(path).expect("the path is available"));
        }
    }
}

fn pack(kernels: &Kernels, weights: &[i8], inputs: usize, scales: &[f32]) -> PackedInt8 {
    let mut builder = kernels.int8_builder(scales.len(), inputs);
    for (output, scale) in scales.iter().enumerate() {
        builder.push(&weights[output * inputs..][..inputs], *scale);
    }
    builder.finish()
}

fn product(
    kernels: &Kernels,
    x: &[f32],
    rows: usize,
    weight: &PackedInt8,
    epilogue: Epilogue<'_>,
) -> Vec<f32> {
    let mut out = vec![f32::NAN; rows * weight.outputs()];
    let target = MatrixMut::new(&mut out, rows, weight.outputs());
    kernels.linear_int8(Matrix::new(x, rows, weight.inputs()), weight, epilogue, target);
    out
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn sums_are_those_of_integers_on_every_path() {
    let paths: Vec<Kernels> = Int8Path::available()
        .into_iter()
        .map(|path| Kernels::new(Isa::detect(), 1).and_then(|kernels| kernels.with_int8_path(path)))
        .collect::<Result<_, _>>()
        .expect("available");
    let mut draw = Draw(1);
    for case in 0..10_000 {
        // Thousands of small shapes; occasionally one with several tasks.
        let most = if case % 500 == 0 { [150, 700, 200] } else { [10, 90, 60] };
        let [rows, inputs, outputs] = most.map(|most| draw.below(most) + 1);
        // Each row either has 127 as its greatest magnitude, so that quantizing leaves it unchanged, or is all zero.
        let mut x: Vec<f32> = (0..rows * inputs).map(|_| draw.below(255) as f32 - 127.0).collect();
        for row in x.chunks_exact_mut(inputs) {
            match draw.below(9) {
                0 => row.fill(0.0),
                1 => row.fill(-127.0),
                2 => row.fill(127.0),
                _ => row[draw.below(row.len())] = if draw.below(2) == 0 { 127.0 } else { -127.0 },
            }
        }
        let mut weights: Vec<i8> = (0..inputs * outputs).map(|_| draw.int8()).collect();
        match draw.below(9) {
            0 => weights.fill(-128),
            1 => weights.fill(127),
            2 => weights[..inputs].fill(0),
            _ => {}
        }
        let scales: Vec<f32> = (0..outputs).map(|_| draw.below(1000) as f32 / 7e3).collect();
        let mut expected = Vec::with_capacity(rows * outputs);
        for row in x.chunks_exact(inputs) {
            for (weights, scale) in weights.chunks_exact(inputs).zip(&scales) {
                let sum: i32 = row.iter().zip(weights).map(|(x, w)| *x as i32 * i32::from(*w)).sum();
                let zero = row.iter().all(|value| *value == 0.0);
                expected.push(if zero { 0.0 } else { sum as f32 * scale });
            }
        }
        for kernels in &paths {
            let weight = pack(kernels, &weights, inputs, &scales);
            let found = product(kernels, &x, rows, &weight, Epilogue::default());
            assert_eq!(found, expected, "{:?} [{rows}, {inputs}, {outputs}]", kernels.int8_path());
        }
    }
}

#[test]
fn the_longest_sum_fits() {
    for_each_path(|kernels| {
        for (value, weight) in [(127.0, 127_i8), (127.0, -128), (-127.0, -128)] {
            let x = vec![value; MOST_INT8_INPUTS];
            let packed = pack(kernels, &vec![weight; MOST_INT8_INPUTS], MOST_INT8_INPUTS, &[1.0]);
            let sum = value as i32 * i32::from(weight) * MOST_INT8_INPUTS as i32;
            let found = product(kernels, &x, 1, &packed, Epilogue::default());
            assert_eq!(found, [sum as f32], "{:?}", kernels.int8_path());
        }
    });
}

#[test]
fn an_instruction_set_takes_its_own_products_or_narrower_ones() {
    assert_eq!(Int8Path::fastest(Isa::Portable), Int8Path::Portable);
    if Isa::Neon.is_available() {
        let dot = Int8Path::NeonDot.is_available();
        let expected = if dot { Int8Path::NeonDot } else { Int8Path::Neon };
        assert_eq!(Int8Path::fastest(Isa::Neon), expected);
    }
    for isa in Isa::available() {
        assert_eq!(Kernels::new(isa, 1).expect("available").int8_path(), Int8Path::fastest(isa));
    }
}

#[test]
#[should_panic(expected = "may not fit 32 bits")]
fn longer_sums_are_refused() {
    Kernels::new(Isa::Portable, 1).expect("no threads").int8_builder(1, MOST_INT8_INPUTS + 1);
}

/// Rounds to the nearest int8, ties to even, in f64.
fn reference(row: &[f32]) -> (Vec<i32>, f32) {
    let most = row.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    if most == 0.0 {
        return (vec![0; row.len()], 0.0);
    }
    let inverse = 127.0 / most;
    let round = |value: &f32| f64::from(value * inverse).round_ties_even() as i32;
    (row.iter().map(round).collect(), most / 127.0)
}

#[test]
fn rows_are_quantized_one_by_one_and_epilogues_follow_in_f32() {
    let (rows, inputs, outputs) = (37, 130, 75);
    let mut x = numbers(rows * inputs, 1);
    // Ties, a tiny row and a huge one.
    x[..inputs].iter_mut().enumerate().for_each(|(index, value)| *value = index as f32 - 63.5);
    x[inputs..2 * inputs].iter_mut().for_each(|value| *value *= 1e-30);
    x[2 * inputs..3 * inputs].iter_mut().for_each(|value| *value *= 1e38);
    let mut draw = Draw(5);
    let weights: Vec<i8> = (0..inputs * outputs).map(|_| draw.int8()).collect();
    let scales: Vec<f32> = (0..outputs).map(|output| 0.001 * (output + 1) as f32).collect();
    let (bias, residual) = (numbers(outputs, 2), numbers(rows * outputs, 3));
    let mut expected = Vec::new();
    for (index, row) in x.chunks_exact(inputs).enumerate() {
        let (values, row_scale) = reference(row);
        for output in 0..outputs {
            let pairs = values.iter().zip(&weights[output * inputs..]);
            let sum: i32 = pairs.map(|(x, w)| x * i32::from(*w)).sum();
            let value = sum as f32 * (row_scale * scales[output]) + bias[output];
            expected.push(value.max(0.0) + residual[index * outputs + output]);
        }
    }
    for_each_path(|kernels| {
        let weight = pack(kernels, &weights, inputs, &scales);
        let epilogue = Epilogue::bias(Some(&bias))
            .activation(Activation::Relu)
            .residual(Residual::Matrix(Matrix::new(&residual, rows, outputs)));
        let found = product(kernels, &x, rows, &weight, epilogue);
        assert_eq!(bits(&found), bits(&expected), "{kernels:?}");
        for row in [0, 1, 36] {
            let other = Matrix::new(&residual[row * outputs..][..outputs], 1, outputs);
            let epilogue = Epilogue { residual: Residual::Matrix(other), ..epilogue };
            let alone = product(kernels, &x[row * inputs..][..inputs], 1, &weight, epilogue);
            assert_eq!(bits(&alone), bits(&expected[row * outputs..][..outputs]), "row {row} alone");
        }
    });
}

#[test]
fn numbers_that_are_not_finite_stay_in_their_rows_and_are_refused_as_weights() {
    let (rows, inputs, outputs) = (20, 33, 50);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for_each_path(|kernels| {
            let weight = pack(kernels, &vec![3; inputs * outputs], inputs, &vec![1.0; outputs]);
            let mut x = numbers(rows * inputs, 2);
            x[17 * inputs + 32] = bad;
            let found = product(kernels, &x, rows, &weight, Epilogue::default());
            for (row, values) in found.chunks(outputs).enumerate() {
                assert!(values.iter().all(|value| value.is_nan() == (row == 17)), "{kernels:?} {bad}");
            }
        });
        assert_eq!(quantize_weights(&[1.0, bad], &mut [0; 2]), None);
    }
    // Values so small that 127 divided by the greatest overflows f32.
    for_each_path(|kernels| {
        let weight = pack(kernels, &[100; 3], 3, &[1.0]);
        assert_eq!(product(kernels, &[1e-40, -1e-40, 0.0], 1, &weight, Epilogue::default()), [0.0]);
    });
}

#[test]
fn weights_are_quantized_to_the_nearest() {
    let mut out = [0; 5];
    let scale = quantize_weights(&[2.54, -1.27, 0.01, 0.03, 0.0], &mut out);
    assert_eq!((scale, out), (Some(2.54 / 127.0), [127, -64, 0, 2, 0]));
    assert_eq!(quantize_weights(&[0.0; 2], &mut out[..2]), Some(0.0));
    assert_eq!(out[..2], [0, 0]);
}

#[test]
fn nothing_times_nothing_is_the_bias() {
    for_each_path(|kernels| {
        let weight = pack(kernels, &[], 0, &[1.0, 2.0]);
        let bias = [0.5, -0.5];
        let found = product(kernels, &[], 2, &weight, Epilogue::bias(Some(&bias)));
        assert_eq!(found, [0.5, -0.5, 0.5, -0.5]);
        assert!(product(kernels, &[], 0, &weight, Epilogue::default()).is_empty());
    });
}

/// Compares a convolution bit for bit with the product of its patches, gathered here tap by tap.
fn check_conv(kernels: &Kernels, size: [usize; 2], channels: [usize; 2], groups: usize, window: Window) {
    let [inputs, outputs] = channels;
    let (depth, taps) = (inputs / groups, window.kernel[0] * window.kernel[1]);
    let (batch, rows) = (2, outputs / groups);
    let x = numbers(batch * size[0] * size[1] * inputs, 1);
    let mut draw = Draw(7);
    let weight: Vec<i8> = (0..outputs * depth * taps).map(|_| draw.int8()).collect();
    let scales: Vec<f32> = (0..outputs).map(|output| 0.001 * (output + 1) as f32).collect();
    let bias = numbers(outputs, 3);
    let [height, width] = window.output_size(size);
    let mut expected = vec![0.0; batch * height * width * outputs];
    for group in 0..groups {
        let mut patches = Vec::new();
        for place in 0..batch * height * width {
            let (image, y, x_place) = (place / (height * width), place / width % height, place % width);
            let mut patch = vec![0.0; taps * depth];
            each_tap(&window, size, [y, x_place], |tap, pixel| {
                let start = (image * size[0] * size[1] + pixel) * inputs + group * depth;
                patch[tap * depth..][..depth].copy_from_slice(&x[start..][..depth]);
            });
            patches.extend(patch);
        }
        let mut own = Vec::new();
        for output in group * rows..(group + 1) * rows {
            for index in 0..taps * depth {
                own.push(weight[output * depth * taps + index % depth * taps + index / depth]);
            }
        }
        let range = group * rows..(group + 1) * rows;
        let packed = pack(kernels, &own, taps * depth, &scales[range.clone()]);
        let epilogue = Epilogue::bias(Some(&bias[range.clone()])).activation(Activation::Relu);
        let found = product(kernels, &patches, batch * height * width, &packed, epilogue);
        for (target, found) in expected.chunks_exact_mut(outputs).zip(found.chunks_exact(rows)) {
            target[range.clone()].copy_from_slice(found);
        }
    }
    let conv = kernels.pack_conv2d_int8(&weight, &scales, inputs, groups, window);
    assert!(
        conv.bytes() >= weight.len() && conv.bytes() < 3 * weight.len() + 4096,
        "a byte a weight, and padding"
    );
    let mut out = vec![f32::NAN; expected.len()];
    let epilogue = Epilogue::bias(Some(&bias)).activation(Activation::Relu);
    kernels.conv2d(Image::new(&x, batch, size, inputs), &conv, epilogue, &mut out);
    assert_eq!(bits(&out), bits(&expected), "{kernels:?} {size:?} {channels:?} {groups} {window:?}");
}

#[test]
fn convolutions_are_products_of_their_patches() {
    for_each_path(|kernels| {
        each_conv(|channels, groups, window| check_conv(kernels, [7, 9], channels, groups, window));
        check_conv(kernels, [30, 31], [16, 20], 1, Window::square(3, 2, 1));
    });
}
