use crate::{activate, assert_close, for_each_kernels, numbers};
use clipway_kernels::{Activation, Matrix, MatrixMut};

const WIDTHS: [usize; 9] = [1, 3, 8, 15, 17, 64, 65, 100, 768];

#[test]
fn layer_norms() {
    for_each_kernels(|kernels| {
        for width in WIDTHS {
            for offset in [0.0, 100.0] {
                let rows = 30;
                let x: Vec<f32> = numbers(rows * (width + 2), 1).iter().map(|value| value + offset).collect();
                let weight = numbers(width, 2);
                let bias = numbers(width, 3);
                let mut expected = Vec::new();
                for row in x.chunks(width + 2) {
                    let row = &row[..width];
                    let mean = row.iter().copied().map(f64::from).sum::<f64>() / width as f64;
                    let squares: f64 = row.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum();
                    let factor = (squares / width as f64 + 1e-5).sqrt();
                    expected.extend(row.iter().zip(weight.iter().zip(&bias)).map(
                        |(&value, (&weight, &bias))| {
                            (f64::from(value) - mean) / factor * f64::from(weight) + f64::from(bias)
                        },
                    ));
                }
                let mut out = vec![0.0; rows * width];
                kernels.layer_norm(
                    Matrix::with_stride(&x, rows, width, width + 2),
                    Some(&weight),
                    Some(&bias),
                    1e-5,
                    MatrixMut::new(&mut out, rows, width),
                );
                // The mean of values near 100 is itself rounded to 4e-6; a row of one value must give its bias.
                let tolerance = if offset == 0.0 { 1e-6 } else { 4e-5 };
                assert_close(&out, &expected, tolerance, &format!("{kernels:?} {width} {offset}"));
            }
        }
    });
}

#[test]
fn rms_norms() {
    for_each_kernels(|kernels| {
        for width in WIDTHS {
            let rows = 7;
            let x: Vec<f32> = numbers(rows * (width + 2), 1).iter().map(|value| value + 0.5).collect();
            let weight = numbers(width, 2);
            let mut expected = Vec::new();
            for row in x.chunks(width + 2) {
                let row = &row[..width];
                let squares: f64 = row.iter().map(|&value| f64::from(value).powi(2)).sum();
                let factor = (squares / width as f64 + 1e-3).sqrt();
                let term = |(&value, &weight): (&f32, &f32)| f64::from(value) / factor * f64::from(weight);
                expected.extend(row.iter().zip(&weight).map(term));
            }
            let mut out = vec![0.0; rows * width];
            let x = Matrix::with_stride(&x, rows, width, width + 2);
            kernels.rms_norm(x, &weight, 1e-3, MatrixMut::new(&mut out, rows, width));
            assert_close(&out, &expected, 5e-7, &format!("{kernels:?} {width}"));
        }
    });
}

#[test]
fn softmax_and_unit_length() {
    for_each_kernels(|kernels| {
        for width in WIDTHS {
            let rows = 5;
            let x: Vec<f32> = numbers(rows * width, 1).iter().map(|value| value * 30.0 - 50.0).collect();
            let mut softmax = Vec::new();
            let mut unit = Vec::new();
            for row in x.chunks(width) {
                let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let exp = |value: &f32| (f64::from(*value) - f64::from(max)).exp();
                let sum: f64 = row.iter().map(exp).sum();
                softmax.extend(row.iter().map(|value| exp(value) / sum));
                let length = row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
                unit.extend(row.iter().map(|&value| f64::from(value) / length));
            }
            let mut out = x.clone();
            kernels.softmax(MatrixMut::new(&mut out, rows, width));
            assert_close(&out, &softmax, 5e-7, &format!("{kernels:?} softmax {width}"));
            let mut out = x.clone();
            kernels.l2_normalize(MatrixMut::new(&mut out, rows, width), 1e-12);
            assert_close(&out, &unit, 3e-7, &format!("{kernels:?} unit length {width}"));
        }
        let mut zeros = [0.0; 3];
        kernels.l2_normalize(MatrixMut::new(&mut zeros, 1, 3), 1e-12);
        assert_eq!(zeros, [0.0; 3]);
        let mut values = [0.0, f32::NAN, 1.0, 2.0];
        kernels.softmax(MatrixMut::new(&mut values, 2, 2));
        assert!(values[0].is_nan() && values[1].is_nan() && !values[2].is_nan());
    });
}

#[test]
fn activations_are_near_exact() {
    let all = [
        Activation::Identity,
        Activation::Relu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::QuickGelu,
        Activation::Silu,
        Activation::Sigmoid,
        Activation::Tanh,
    ];
    // From -20 to 20 in small steps, plus some far outside.
    let mut x: Vec<f32> = (-20_000..=20_000).map(|step| step as f32 * 1e-3).collect();
    x.extend([1e-30, -1e-30, 88.5, -88.5, 104.5, -104.5, 1e4, -1e4, f32::NAN]);
    for_each_kernels(|kernels| {
        for activation in all {
            let mut found = x.clone();
            kernels.activation(activation, &mut found);
            for (&x, &found) in x.iter().zip(&found) {
                let expected = activate(activation, f64::from(x));
                // Relative, unless the value is small; for large |x| a small result must stay small.
                let error = (f64::from(found) - expected).abs();
                let close = error <= 2e-7 * expected.abs() + 4e-8 * f64::from(x.abs().min(1.0));
                let same = close || (found.is_nan() && expected.is_nan());
                assert!(same, "{kernels:?} {activation:?}({x}) = {expected}, found {found}");
            }
        }
    });
}

#[test]
fn sums_products_and_means() {
    for_each_kernels(|kernels| {
        for width in WIDTHS {
            let (groups, rows) = (3, 200);
            let x = numbers(groups * rows * width, 1);
            let y = numbers(width, 2);
            let combine = |function: fn(f64, f64) -> f64| -> Vec<f64> {
                let pairs = x.iter().zip(y.iter().cycle());
                pairs.map(|(&x, &y)| function(f64::from(x), f64::from(y))).collect()
            };
            let mut out = x.clone();
            kernels.add(&y, &mut out);
            assert_close(&out, &combine(|x, y| x + y), 1e-7, "sum");
            let mut out = x.clone();
            kernels.subtract(&y, &mut out);
            assert_close(&out, &combine(|x, y| x - y), 1e-7, "difference");
            let mut out = x.clone();
            kernels.mul_channels(&y, &mut out);
            assert_close(&out, &combine(|x, y| x * y), 1e-7, "product");
            let mut means = vec![0.0; groups * width];
            for (place, &value) in x.iter().enumerate() {
                means[place / (rows * width) * width + place % width] += f64::from(value) / rows as f64;
            }
            let mut out = vec![0.0; groups * width];
            kernels.mean_rows(&x, rows, width, &mut out);
            assert_close(&out, &means, 1e-6, "mean");
        }
    });
}
