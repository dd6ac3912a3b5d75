//! Prints the speed of the kernels: the best of several runs, for each instruction set.
//!
//! `cargo bench -p clipway-kernels [-- FILTER]`

use clipway_kernels::{
    Activation, AttentionSpec, Bf16Path, ByteTaps, Epilogue, Image, Isa, Kernels, Matrix, MatrixMut,
    RowScores, Sequence, WeightLayout, Window, resize_columns, resize_rows,
};
use half::bf16;
use std::time::Instant;

/// Seconds that each measurement repeats for.
const SECONDS: f64 = 0.25;

/// Rows of a scan's block.
const SCANNED: usize = 528;

fn main() {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    for isa in Isa::available() {
        for threads in [1, 2] {
            let bench =
                Bench { kernels: Kernels::new(isa, threads).expect("threads start"), filter: &filter };
            bench.kernels.install(|| bench.all());
        }
    }
}

struct Bench<'a> {
    kernels: Kernels,
    filter: &'a str,
}

impl Bench<'_> {
    fn all(&self) {
        for rows in [1, 4, 16, 50, 77, 400, 1600] {
            for (inputs, outputs) in [(768, 2304), (768, 768), (768, 3072), (3072, 768), (512, 512)] {
                let sizes = [rows, inputs, outputs];
                let f32 = |weight: &[f32]| {
                    self.kernels.pack_linear::<f32>(weight, outputs, inputs, WeightLayout::OutIn)
                };
                self.linear("f32", sizes, f32, |weight, x, bias, out| {
                    self.kernels.linear(x, weight, bias, out)
                });
                for path in Bf16Path::available(self.kernels.isa()) {
                    let kernels = self.kernels.clone().with_bf16_path(path).expect("available");
                    let bf16 = |weight: &[f32]| {
                        kernels.pack_linear::<bf16>(weight, outputs, inputs, WeightLayout::OutIn)
                    };
                    let name = format!("{path:?}");
                    self.linear(&name, sizes, bf16, |weight, x, bias, out| {
                        kernels.linear(x, weight, bias, out)
                    });
                }
                let int8 = |_: &[f32]| {
                    let mut builder = self.kernels.int8_builder(outputs, inputs);
                    for output in 0..outputs {
                        let row: Vec<i8> =
                            (0..inputs).map(|input| ((input * 31 + output * 17) % 255) as u8 as i8).collect();
                        builder.push(&row, 0.01);
                    }
                    builder.finish()
                };
                self.linear("int8", sizes, int8, |weight, x, bias, out| {
                    self.kernels.linear_int8(x, weight, bias, out)
                });
            }
        }
        self.attention(8, 50, 12, 64, false);
        self.attention(8, 77, 8, 64, true);
        self.attention(1, 577, 16, 64, false);
        self.layer_norm(400, 768);
        self.gelu(400 * 3072);
        self.conv(8, 224, 3, 768, Window::square(32, 32, 0), 1);
        self.conv(1, 224, 3, 768, Window::square(32, 32, 0), 1);
        self.conv(1, 56, 64, 64, Window::square(3, 1, 1), 1);
        self.conv(1, 14, 256, 256, Window::square(3, 1, 1), 1);
        self.conv(1, 56, 128, 128, Window::square(7, 1, 3), 128);
        self.conv(8, 32, 160, 160, Window::square(7, 1, 3), 160);
        self.conv(8, 8, 640, 640, Window::square(7, 1, 3), 640);
        self.conv(8, 32, 160, 160, Window::square(3, 1, 1), 160);
        self.conv(8, 32, 160, 320, Window::square(7, 2, 3), 160);
        self.pack(3072, 768);
        self.resize(640, 427, 336);
        self.resize(2400, 1800, 298);
        // On the caller's thread, whatever the number of threads.
        for count in [1, 4, 8, 16, 32, 64] {
            self.scan(200_000, 512, count);
        }
    }

    /// Rows of an index times queries, in blocks as a search has them; the rows leave the cache before the next run.
    fn scan(&self, rows: usize, width: usize, count: usize) {
        let operations = 2.0 * (rows * width * count) as f64;
        self.measure(&format!("scan {rows}x{width}, {count} queries"), operations, "GOP/s", || {
            let bytes: Vec<u8> = (0..rows * width).map(|index| (index * 37 % 251) as u8).collect();
            let queries: Vec<i8> = (0..count * width).map(|index| (index * 31 % 255) as u8 as i8).collect();
            let queries = self.kernels.scan_queries(&queries, width);
            let (scales, thresholds) = (vec![1.0; rows], vec![f32::INFINITY; count]);
            let mut scores = RowScores::default();
            move || {
                for (bytes, scales) in bytes.chunks(SCANNED * width).zip(scales.chunks(SCANNED)) {
                    self.kernels.scan(bytes, scales, &queries, &thresholds, &mut scores);
                }
            }
        });
    }

    /// Prepares a computation if its name is asked for, repeats it, and prints the rate of the best run.
    fn measure<R: FnMut()>(&self, name: &str, amount: f64, unit: &str, prepare: impl FnOnce() -> R) {
        let name = format!("{} x{} {name}", self.kernels.isa(), self.kernels.threads());
        if !name.contains(self.filter) {
            return;
        }
        let mut run = prepare();
        let mut best = f64::INFINITY;
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < SECONDS || best == f64::INFINITY {
            let lap = Instant::now();
            run();
            best = best.min(lap.elapsed().as_secs_f64());
        }
        println!("{name:50} {:9.1} {unit}  {:9.1} us", amount / best / 1e9, best * 1e6);
    }

    fn linear<W>(
        &self,
        name: &str,
        [rows, inputs, outputs]: [usize; 3],
        pack: impl Fn(&[f32]) -> W,
        multiply: impl Fn(&W, Matrix<'_>, Epilogue<'_>, MatrixMut<'_>),
    ) {
        let flops = 2.0 * (rows * inputs * outputs) as f64;
        self.measure(&format!("linear {rows} {inputs} {outputs} {name}"), flops, "GFLOP/s", || {
            // As in a model, the weights of one product leave the cache before the next run.
            let layers = (64_000_000 / (4 * inputs * outputs)).max(1);
            let values = numbers(outputs * inputs);
            let weights: Vec<W> = (0..layers).map(|_| pack(&values)).collect();
            let x = numbers(rows * inputs);
            let bias = numbers(outputs);
            let mut out = vec![0.0; rows * outputs];
            let mut layer = 0;
            move || {
                layer = (layer + 1) % layers;
                let out = MatrixMut::new(&mut out, rows, outputs);
                let x = Matrix::new(&x, rows, inputs);
                multiply(&weights[layer], x, Epilogue::bias(Some(&bias)), out);
            }
        });
    }

    fn attention(&self, batch: usize, tokens: usize, heads: usize, head_width: usize, causal: bool) {
        let (width, rows) = (heads * head_width, batch * tokens);
        let flops = 4.0 * (rows * tokens * width) as f64;
        self.measure(&format!("attention {batch} {tokens} {heads} {causal}"), flops, "GFLOP/s", || {
            let qkv = numbers(rows * 3 * width);
            let mut out = vec![0.0; rows * width];
            let scale = (head_width as f32).powf(-0.5);
            let spec = AttentionSpec { heads, head_width, scale, causal, bias: None, rotary: None };
            let sequences = Sequence::batch(batch, tokens);
            move || {
                let view = |part: usize| Matrix::with_stride(&qkv[part * width..], rows, width, 3 * width);
                let out = MatrixMut::new(&mut out, rows, width);
                self.kernels.attention(&spec, &sequences, view(0), view(1), view(2), out);
            }
        });
    }

    fn layer_norm(&self, rows: usize, width: usize) {
        self.measure(&format!("layer_norm {rows} {width}"), (rows * width) as f64, "Gvalue/s", || {
            let x = numbers(rows * width);
            let weight = numbers(width);
            let mut out = vec![0.0; rows * width];
            move || {
                let (x, out) = (Matrix::new(&x, rows, width), MatrixMut::new(&mut out, rows, width));
                self.kernels.layer_norm(x, Some(&weight), Some(&weight), 1e-5, out);
            }
        });
    }

    fn gelu(&self, len: usize) {
        for activation in [Activation::Gelu, Activation::QuickGelu, Activation::Tanh] {
            self.measure(&format!("{activation:?} {len}"), len as f64, "Gvalue/s", || {
                let x = numbers(len);
                let mut out = x.clone();
                move || {
                    out.copy_from_slice(&x);
                    self.kernels.activation(activation, &mut out);
                }
            });
        }
    }

    fn conv(&self, batch: usize, size: usize, inputs: usize, outputs: usize, window: Window, groups: usize) {
        let weights = outputs * inputs / groups * window.kernel[0] * window.kernel[1];
        let pixels: usize = window.output_size([size; 2]).iter().product::<usize>() * batch;
        let flops = 2.0 * (pixels * weights) as f64;
        let name = format!("conv {batch} {size} {inputs} {outputs} {} {groups}", window.kernel[0]);
        self.measure(&name, flops, "GFLOP/s", || {
            let weight = numbers(weights);
            let conv = self.kernels.pack_conv2d::<f32>(&weight, outputs, inputs, groups, window);
            let x = numbers(batch * size * size * inputs);
            let mut out = vec![0.0; pixels * outputs];
            move || {
                let image = Image::new(&x, batch, [size; 2], inputs);
                self.kernels.conv2d(image, &conv, Epilogue::default(), &mut out);
            }
        });
    }

    fn pack(&self, outputs: usize, inputs: usize) {
        let bytes = 4.0 * (outputs * inputs) as f64;
        for layout in [WeightLayout::OutIn, WeightLayout::InOut] {
            self.measure(&format!("pack {layout:?}"), bytes, "GB/s", || {
                let weight = numbers(outputs * inputs);
                move || {
                    self.kernels.pack_linear::<f32>(&weight, outputs, inputs, layout);
                }
            });
        }
    }

    /// Both passes of resizing a byte image to `to` columns and 224 rows, with windows as wide as bicubic's.
    fn resize(&self, width: usize, height: usize, to: usize) {
        let bytes = width * height * 3;
        self.measure(&format!("resize {width} {height}"), bytes as f64, "GB/s", || {
            let taps = |side: usize, outputs: usize| {
                let count = (4 * side / outputs).min(side);
                let mut taps = ByteTaps::new();
                for output in 0..outputs {
                    let first = output * (side - count) / outputs;
                    taps.push(first, (0..count).map(|_| (1 << ByteTaps::PRECISION) / count as i32));
                }
                taps
            };
            let image: Vec<u8> = (0..bytes).map(|place| (place * 7 % 251) as u8).collect();
            let (across, down) = (taps(width, to), taps(height, 224));
            let isa = self.kernels.isa();
            move || {
                let between = resize_rows::<3>(isa, &image, width, &across);
                std::hint::black_box(resize_columns(isa, &between, to * 3, 0..to * 3, 0, &down));
            }
        });
    }
}

/// Returns pseudorandom numbers between -1 and 1.
fn numbers(count: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}
