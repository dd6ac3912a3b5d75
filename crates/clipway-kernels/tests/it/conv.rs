use crate::{assert_close, for_each_kernels, numbers};
use clipway_kernels::{
    Activation, Epilogue, Image, Kernels, Matrix, PackedConv, PanelElement, Residual, Window,
};

const BATCH: usize = 2;

/// Calls a function with channels, groups and a window: of 1 pixel, for Winograd's way, others, and of a channel each.
pub(crate) fn each_conv(mut function: impl FnMut([usize; 2], usize, Window)) {
    let odd = Window { kernel: [2, 3], stride: [1, 2], padding: [[0, 1], [2, 0]], dilation: [2, 1] };
    for window in [Window::square(1, 1, 0), Window::square(1, 2, 0), Window::square(3, 1, 1), odd] {
        for (channels, groups) in [([6, 50], 1), ([8, 12], 2), ([3, 3], 3), ([70, 130], 1)] {
            function(channels, groups, window);
        }
    }
}

/// Calls a function with each tap of an output's window and the pixel it sees.
pub(crate) fn each_tap(
    window: &Window,
    size: [usize; 2],
    output: [usize; 2],
    mut function: impl FnMut(usize, usize),
) {
    for tap_y in 0..window.kernel[0] {
        for tap_x in 0..window.kernel[1] {
            let place = |axis: usize, tap: usize| {
                let padded = output[axis] * window.stride[axis] + tap * window.dilation[axis];
                padded.checked_sub(window.padding[axis][0]).filter(|&place| place < size[axis])
            };
            if let (Some(y), Some(x)) = (place(0, tap_y), place(1, tap_x)) {
                function(tap_y * window.kernel[1] + tap_x, y * size[1] + x);
            }
        }
    }
}

/// Fills an output with a function of the image, the output position and the channel.
fn outputs(
    window: &Window,
    size: [usize; 2],
    channels: usize,
    value: impl Fn(usize, [usize; 2], usize) -> f64,
) -> Vec<f64> {
    let [height, width] = window.output_size(size);
    let mut values = Vec::new();
    for image in 0..BATCH {
        for pixel in 0..height * width {
            for channel in 0..channels {
                values.push(value(image, [pixel / width, pixel % width], channel));
            }
        }
    }
    values
}

/// Checks a convolution with weights and pixels that an element type holds exactly.
pub(crate) fn check_conv<E: PanelElement>(
    kernels: &Kernels,
    size: [usize; 2],
    channels: [usize; 2],
    groups: usize,
    window: Window,
    pack: impl Fn(&[f32]) -> PackedConv,
) where
    f32: From<E>,
{
    let numbers = |count: usize, seed: u64| -> Vec<f32> {
        numbers(count, seed).into_iter().map(|value| f32::from(E::round(value))).collect()
    };
    let [inputs, outputs_] = channels;
    let pixels = size[0] * size[1];
    let taps = window.kernel[0] * window.kernel[1];
    let depth = inputs / groups;
    let x = numbers(BATCH * pixels * inputs, 1);
    let weight = numbers(outputs_ * depth * taps, 2);
    let bias = numbers(outputs_, 3);
    let residual = numbers(BATCH * window.output_size(size).iter().product::<usize>() * outputs_, 4);
    let mut index = residual.iter();
    let mut expected = outputs(&window, size, outputs_, |image, output, channel| {
        let mut sum = f64::from(bias[channel]);
        let group = channel / (outputs_ / groups);
        each_tap(&window, size, output, |tap, pixel| {
            for input in 0..depth {
                let value = x[(image * pixels + pixel) * inputs + group * depth + input];
                sum += f64::from(value) * f64::from(weight[(channel * depth + input) * taps + tap]);
            }
        });
        sum
    });
    for value in &mut expected {
        *value = (*value + f64::from(*index.next().expect("a residual for each output"))).max(0.0);
    }
    let conv = pack(&weight);
    let mut out = vec![9.0; expected.len()];
    let epilogue = Epilogue::bias(Some(&bias))
        .residual(Residual::Matrix(Matrix::new(&residual, residual.len() / outputs_, outputs_)))
        .finish(Activation::Relu);
    kernels.conv2d(Image::new(&x, BATCH, size, inputs), &conv, epilogue, &mut out);
    assert_close(&out, &expected, 2e-6, &format!("{kernels:?} {size:?} {channels:?} {groups} {window:?}"));
}

#[test]
fn convolutions() {
    let check_conv = |kernels: &Kernels, size, channels: [usize; 2], groups, window| {
        check_conv::<f32>(kernels, size, channels, groups, window, |weight| {
            kernels.pack_conv2d::<f32>(weight, channels[1], channels[0], groups, window)
        });
    };
    let odd = Window { kernel: [2, 3], stride: [1, 2], padding: [[0, 1], [2, 0]], dilation: [2, 1] };
    let wide = Window { kernel: [1, 3], stride: [1, 1], padding: [[0, 0], [2, 2]], dilation: [1, 2] };
    for_each_kernels(|kernels| {
        for window in [
            Window::square(1, 1, 0),
            Window::square(1, 2, 0),
            Window::square(3, 1, 1),
            Window::square(3, 2, 1),
            Window::square(4, 4, 0),
            Window::square(7, 1, 3),
            Window::square(7, 2, 3),
            odd,
            wide,
        ] {
            for (channels, groups) in [
                ([3, 64], 1),
                ([6, 50], 2),
                ([8, 4], 4),
                ([5, 5], 5),
                ([70, 70], 70),
                ([4, 8], 4),
                ([35, 70], 35),
                ([3, 15], 3),
            ] {
                check_conv(kernels, [9, 11], channels, groups, window);
            }
        }
        // Depthwise over more columns than are summed together, with and without a border.
        check_conv(kernels, [3, 37], [32, 32], 32, Window::square(7, 1, 3));
        check_conv(kernels, [3, 37], [32, 64], 32, Window::square(7, 2, 3));
        check_conv(kernels, [9, 40], [16, 16], 16, Window::square(3, 1, 0));
        // More channels than are gathered together, several outputs of each, in more lines than a task has.
        check_conv(kernels, [37, 9], [70, 210], 70, Window::square(5, 1, 2));
        // Tiles of 2 by 2 outputs: cut at the edges, with uneven borders, without any, and more than one task holds.
        let uneven = Window { padding: [[0, 1], [2, 0]], ..Window::square(3, 1, 0) };
        for window in [Window::square(3, 1, 1), Window::square(3, 1, 0), uneven] {
            for size in [[1, 1], [3, 4], [8, 7], [33, 18]] {
                check_conv(kernels, size, [50, 70], 1, window);
            }
        }
        // More patches than one task holds, and an image smaller than the window.
        check_conv(kernels, [33, 31], [16, 20], 1, Window::square(3, 1, 1));
        check_conv(kernels, [2, 2], [3, 4], 1, Window::square(5, 1, 2));
        check_conv(kernels, [2, 2], [3, 4], 1, Window::square(5, 1, 0));
    });
}

#[test]
fn windows_of_3_by_3_over_many_channels_are_computed_in_tiles() {
    for_each_kernels(|kernels| {
        let bytes = |inputs: usize, window: Window| {
            kernels.pack_conv2d::<f32>(&vec![0.5; 64 * inputs * 9], 64, inputs, 1, window).bytes()
        };
        assert_eq!(
            bytes(32, Window::square(3, 1, 1)),
            16 * 64 * 32 * 4,
            "{kernels:?}: a matrix for each place of a tile"
        );
        assert_eq!(
            bytes(32, Window::square(3, 2, 1)),
            9 * 64 * 32 * 4,
            "{kernels:?}: with a stride, patches"
        );
        assert_eq!(
            bytes(8, Window::square(3, 1, 1)),
            9 * 64 * 8 * 4,
            "{kernels:?}: of few channels, patches"
        );
    });
}

#[test]
fn pools() {
    let size = [7, 10];
    for_each_kernels(|kernels| {
        for window in [Window::square(2, 2, 0), Window::square(3, 2, 1), Window::square(3, 1, 1)] {
            for channels in [1, 5, 16, 67] {
                let x = numbers(BATCH * 70 * channels, 1);
                let image = Image::new(&x, BATCH, size, channels);
                let pool = |start: f64, join: &dyn Fn(f64, f64) -> f64, divide: &dyn Fn(f64) -> f64| {
                    outputs(&window, size, channels, |image, output, channel| {
                        let (mut value, mut count) = (start, 0.0);
                        each_tap(&window, size, output, |_, pixel| {
                            value = join(value, f64::from(x[(image * 70 + pixel) * channels + channel]));
                            count += 1.0;
                        });
                        value / divide(count)
                    })
                };
                let taps = (window.kernel[0] * window.kernel[1]) as f64;
                let max = pool(f64::NEG_INFINITY, &f64::max, &|_| 1.0);
                let mut out = vec![0.0; max.len()];
                kernels.max_pool2d(image, &window, &mut out);
                assert_close(&out, &max, 0.0, "max");
                kernels.avg_pool2d(image, &window, true, &mut out);
                assert_close(&out, &pool(0.0, &|a, b| a + b, &|_| taps), 1e-6, "average with padding");
                kernels.avg_pool2d(image, &window, false, &mut out);
                assert_close(&out, &pool(0.0, &|a, b| a + b, &|count| count), 1e-6, "average");
            }
        }
    });
}

#[test]
fn a_maximum_keeps_not_a_number() {
    for_each_kernels(|kernels| {
        for place in 0..4 {
            let mut x = [1.0, 2.0, 3.0, 4.0];
            x[place] = f32::NAN;
            let mut out = [0.0];
            kernels.max_pool2d(Image::new(&x, 1, [2, 2], 1), &Window::square(2, 2, 0), &mut out);
            assert!(out[0].is_nan(), "{kernels:?} {place}");
        }
    });
}
