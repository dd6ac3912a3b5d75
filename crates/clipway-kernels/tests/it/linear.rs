use crate::{activate, assert_close, for_each_kernels, numbers};
use clipway_kernels::{
    Activation, Element, Epilogue, Isa, Kernels, Matrix, MatrixMut, Residual, WeightLayout,
};

#[derive(Clone, Copy, PartialEq)]
enum Add {
    Nothing,
    Output,
    Other,
    GateOutput,
    GateOther,
}

/// One product with all its options.
struct Case {
    sizes: [usize; 3],
    layout: WeightLayout,
    padding: usize,
    bias: bool,
    activation: Activation,
    add: Add,
    finish: Activation,
}

impl Case {
    fn plain(rows: usize, inputs: usize, outputs: usize) -> Self {
        Self {
            sizes: [rows, inputs, outputs],
            layout: WeightLayout::OutIn,
            padding: 0,
            bias: false,
            activation: Activation::Identity,
            add: Add::Nothing,
            finish: Activation::Identity,
        }
    }

    fn check(&self, kernels: &Kernels) {
        let [rows, inputs, outputs] = self.sizes;
        let (x_stride, out_stride) = (inputs + self.padding, outputs + 2 * self.padding);
        let x = numbers(rows * x_stride, 1);
        let weight = numbers(inputs * outputs, 2);
        let bias = numbers(outputs, 3);
        let other = numbers(rows * outputs, 4);
        let before = numbers(rows * out_stride, 5);
        let mut expected: Vec<f64> = before.iter().copied().map(f64::from).collect();
        for row in 0..rows {
            for output in 0..outputs {
                let mut sum = if self.bias { f64::from(bias[output]) } else { 0.0 };
                for input in 0..inputs {
                    let place = match self.layout {
                        WeightLayout::OutIn => output * inputs + input,
                        WeightLayout::InOut => input * outputs + output,
                    };
                    sum += f64::from(x[row * x_stride + input]) * f64::from(weight[place]);
                }
                sum = activate(self.activation, sum);
                match self.add {
                    Add::Nothing => {}
                    Add::Output => sum += f64::from(before[row * out_stride + output]),
                    Add::Other => sum += f64::from(other[row * outputs + output]),
                    Add::GateOutput => sum *= f64::from(before[row * out_stride + output]),
                    Add::GateOther => sum *= f64::from(other[row * outputs + output]),
                }
                expected[row * out_stride + output] = activate(self.finish, sum);
            }
        }
        let packed = kernels.pack_linear::<f32>(&weight, outputs, inputs, self.layout);
        let residual = match self.add {
            Add::Nothing => Residual::None,
            Add::Output | Add::GateOutput => Residual::Output,
            Add::Other | Add::GateOther => Residual::Matrix(Matrix::new(&other, rows, outputs)),
        };
        let epilogue = Epilogue::bias(self.bias.then_some(&bias[..])).activation(self.activation);
        let epilogue = match self.add {
            Add::GateOutput | Add::GateOther => epilogue.gate(residual),
            _ => epilogue.residual(residual),
        }
        .finish(self.finish);
        let mut out = before.clone();
        kernels.linear(
            Matrix::with_stride(&x, rows, inputs, x_stride),
            &packed,
            epilogue,
            MatrixMut::with_stride(&mut out, rows, outputs, out_stride),
        );
        assert_close(&out, &expected, 2e-6, &format!("{kernels:?} {:?}", self.sizes));
    }
}

#[test]
fn products_of_all_sizes() {
    let sizes = [1, 2, 7, 8, 9, 47, 48, 49, 50];
    for_each_kernels(|kernels| {
        for rows in sizes {
            for inputs in sizes {
                for outputs in sizes {
                    Case::plain(rows, inputs, outputs).check(kernels);
                }
            }
        }
        // Deeper than a block of sums, and with more rows and columns than one task takes.
        for [rows, inputs, outputs] in
            [[3, 256, 5], [5, 257, 97], [17, 1000, 33], [300, 70, 150], [0, 3, 4], [3, 0, 4]]
        {
            Case::plain(rows, inputs, outputs).check(kernels);
        }
    });
}

#[test]
fn epilogues_strides_and_layouts() {
    for_each_kernels(|kernels| {
        for layout in [WeightLayout::OutIn, WeightLayout::InOut] {
            for activation in
                [Activation::Identity, Activation::Gelu, Activation::QuickGelu, Activation::Relu]
            {
                for add in [Add::Nothing, Add::Output, Add::Other, Add::GateOutput, Add::GateOther] {
                    let plain = Case::plain(11, 65, 59);
                    Case { layout, padding: 3, bias: true, activation, add, ..plain }.check(kernels);
                }
            }
        }
        let finish = Activation::Relu;
        Case { bias: true, add: Add::Other, finish, ..Case::plain(9, 20, 50) }.check(kernels);
    });
}

#[test]
fn a_row_does_not_depend_on_its_batch_or_the_threads() {
    for isa in Isa::available() {
        let (inputs, outputs, rows) = (300, 200, 150);
        let weight = numbers(inputs * outputs, 1);
        let x = numbers(rows * inputs, 2);
        let run = |threads: usize, x: &[f32]| {
            let kernels = Kernels::new(isa, threads).expect("threads start");
            let packed = kernels.pack_linear::<f32>(&weight, outputs, inputs, WeightLayout::OutIn);
            let rows = x.len() / inputs;
            let mut out = vec![0.0; rows * outputs];
            let target = MatrixMut::new(&mut out, rows, outputs);
            kernels.linear(Matrix::new(x, rows, inputs), &packed, Epilogue::default(), target);
            out
        };
        let all = run(1, &x);
        assert_eq!(all, run(4, &x), "{isa}: threads");
        for row in [0, 7, 77, 149] {
            let alone = run(1, &x[row * inputs..][..inputs]);
            assert_eq!(alone, all[row * outputs..][..outputs], "{isa}: row {row} alone");
        }
    }
}

#[test]
fn not_a_number_stays_in_its_row() {
    for_each_kernels(|kernels| {
        let (rows, inputs, outputs) = (10, 20, 50);
        let packed = kernels.pack_linear::<f32>(&numbers(1000, 1), outputs, inputs, WeightLayout::OutIn);
        let mut x = numbers(rows * inputs, 2);
        x[3 * inputs + 5] = f32::NAN;
        for activation in [Activation::Identity, Activation::Relu, Activation::Gelu, Activation::Silu] {
            let mut out = vec![0.0; rows * outputs];
            let epilogue = Epilogue::default().activation(activation);
            let target = MatrixMut::new(&mut out, rows, outputs);
            kernels.linear(Matrix::new(&x, rows, inputs), &packed, epilogue, target);
            for (row, values) in out.chunks(outputs).enumerate() {
                assert!(
                    values.iter().all(|value| value.is_nan() == (row == 3)),
                    "{kernels:?} {activation:?}"
                );
            }
        }
    });
}

#[test]
fn weights_in_pieces_and_other_precisions() {
    for_each_kernels(|kernels| {
        let (inputs, outputs) = (150, 101);
        // Values that all three element types hold exactly.
        let weight: Vec<f32> =
            numbers(inputs * outputs, 1).iter().map(|value| (value * 16.0).round()).collect();
        let x = numbers(inputs, 2);
        for layout in [WeightLayout::OutIn, WeightLayout::InOut] {
            let row = if layout == WeightLayout::OutIn { inputs } else { outputs };
            let run = |packed| {
                let mut out = vec![0.0; outputs];
                let target = MatrixMut::new(&mut out, 1, outputs);
                kernels.linear(Matrix::new(&x, 1, inputs), &packed, Epilogue::default(), target);
                out
            };
            let expected = run(kernels.pack_linear::<f32>(&weight, outputs, inputs, layout));
            for element in [Element::F32, Element::F16, Element::Bf16] {
                let encode = |value: &f32| -> Vec<u8> {
                    match element {
                        Element::F32 => value.to_le_bytes().to_vec(),
                        Element::F16 => half::f16::from_f32(*value).to_le_bytes().to_vec(),
                        Element::Bf16 => half::bf16::from_f32(*value).to_le_bytes().to_vec(),
                    }
                };
                let bytes: Vec<u8> = weight.iter().flat_map(encode).collect();
                let mut builder = kernels.linear_builder::<f32>(outputs, inputs, layout);
                for piece in bytes.chunks(7 * row * element.bytes()) {
                    builder.push_bytes(piece, element);
                }
                assert_eq!(run(builder.finish()), expected, "{kernels:?} {layout:?} {element:?}");
            }
        }
    });
}

#[test]
fn weights_in_bf16_give_what_their_values_in_f32_give() {
    for_each_kernels(|kernels| {
        for [rows, inputs, outputs] in [[1, 3, 5], [9, 300, 101], [17, 64, 48]] {
            let weight = numbers(inputs * outputs, 1);
            let rounded: Vec<f32> =
                weight.iter().map(|value| half::bf16::from_f32(*value).to_f32()).collect();
            let x = numbers(rows * inputs, 2);
            for layout in [WeightLayout::OutIn, WeightLayout::InOut] {
                let mut results = [vec![0.0; rows * outputs], vec![0.0; rows * outputs]];
                let x = Matrix::new(&x, rows, inputs);
                let narrow = kernels.pack_linear::<half::bf16>(&weight, outputs, inputs, layout);
                let wide = kernels.pack_linear::<f32>(&rounded, outputs, inputs, layout);
                assert_eq!(2 * narrow.bytes(), wide.bytes());
                let epilogue = Epilogue::default().activation(Activation::Gelu);
                kernels.linear(x, &narrow, epilogue, MatrixMut::new(&mut results[0], rows, outputs));
                kernels.linear(x, &wide, epilogue, MatrixMut::new(&mut results[1], rows, outputs));
                assert_eq!(results[0], results[1], "{kernels:?} {layout:?}");
            }
        }
    });
}

#[test]
#[should_panic(expected = "every row of the weight was pushed")]
fn weights_that_lack_rows_are_refused() {
    let kernels = Kernels::new(Isa::Portable, 1).expect("no threads to start");
    let mut builder = kernels.linear_builder::<f32>(3, 2, WeightLayout::OutIn);
    builder.push(&[1.0, 2.0]);
    builder.finish();
}

#[test]
#[should_panic(expected = "needs 8 values, found 7")]
fn a_slice_too_short_for_its_rows_is_refused() {
    Matrix::with_stride(&[0.0; 7], 2, 3, 5);
}

#[test]
#[should_panic(expected = "with stride 9223372036854775808 needs 18446744073709551615 values, found 7")]
#[cfg(target_pointer_width = "64")]
fn a_stride_that_overflows_is_refused() {
    MatrixMut::with_stride(&mut [0.0; 7], 3, 2, 1 << 63);
}
