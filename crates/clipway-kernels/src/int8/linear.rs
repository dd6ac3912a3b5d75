//! The matrix product with int8 weights.

use super::dot::{Dot, DotKernel, DotTile};
use super::pack::{Int8Panel, PackedInt8};
use super::path::Int8Path;
use super::portable::PortableDot;
use super::quantize::{Quantized, quantize};
use crate::buffer::{Plain, view};
use crate::epilogue::{Epilogue, Place};
use crate::isa::{Ahead, MAX_TILE, Simd};
use crate::matrix::{Matrix, MatrixMut, SharedMatrix};
use crate::product::{PackedWeights, Product, RowsProduct};
use crate::threads::Kernels;
use std::ops::Range;

/// Rows quantized per task.
const QUANTIZED_ROWS: usize = 16;

impl Kernels {
    /// Writes `epilogue(x · Wᵀ)` to `out`: `[rows, inputs]` to `[rows, outputs]`. Each row of `x` is quantized to int8
    /// with its own scale.
    ///
    /// A row with a NaN or an infinity yields NaN.
    ///
    /// # Panics
    /// If sizes differ, or the weights were packed for another path.
    pub fn linear_int8(
        &self,
        x: Matrix<'_>,
        weight: &PackedInt8,
        epilogue: Epilogue<'_>,
        out: MatrixMut<'_>,
    ) {
        self.product(x, weight, &epilogue, out);
    }
}

/// Something that runs on the instructions of any path.
pub(super) trait OnDot {
    /// Runs it.
    fn run<D: Dot>(self, dot: D);
}

/// Runs something on the instructions of a path.
pub(super) fn with_dot(path: Int8Path, operation: impl OnDot) {
    match path {
        #[cfg(target_arch = "x86_64")]
        Int8Path::Avx512Vnni => operation.run(super::x86::Avx512Vnni::detect().expect("VNNI was detected")),
        #[cfg(target_arch = "x86_64")]
        Int8Path::AvxVnni => operation.run(super::x86::AvxVnni::detect().expect("AVX-VNNI was detected")),
        #[cfg(target_arch = "x86_64")]
        Int8Path::Avx2 => operation.run(super::x86::Avx2Dot::detect().expect("AVX2 was detected")),
        #[cfg(not(target_arch = "x86_64"))]
        Int8Path::Avx512Vnni | Int8Path::AvxVnni | Int8Path::Avx2 => {
            unreachable!("paths of x86 are refused by Kernels::with_int8_path")
        }
        #[cfg(target_arch = "aarch64")]
        Int8Path::NeonDot => operation.run(super::arm::NeonDot::detect().expect("sdot was detected")),
        #[cfg(target_arch = "aarch64")]
        Int8Path::Neon => operation.run(super::arm::NeonWide::detect().expect("NEON was detected")),
        #[cfg(not(target_arch = "aarch64"))]
        Int8Path::NeonDot | Int8Path::Neon => {
            unreachable!("paths of ARM are refused by Kernels::with_int8_path")
        }
        Int8Path::Portable => operation.run(PortableDot),
    }
}

impl PackedWeights for PackedInt8 {
    fn inputs(&self) -> usize {
        self.inputs()
    }

    fn outputs(&self) -> usize {
        self.outputs()
    }

    fn panels(&self) -> usize {
        self.panels()
    }

    fn work(&self) -> usize {
        self.inputs() / 2
    }

    fn check(&self, kernels: &Kernels) {
        assert_eq!(self.path(), kernels.int8_path(), "the weights are packed for these kernels");
    }

    fn multiply(product: Product<'_, Self>) {
        with_dot(product.weight.path(), product);
    }

    fn multiply_rows(product: RowsProduct<'_, Self>) {
        with_dot(product.weight.path(), product);
    }
}

impl OnDot for Product<'_, PackedInt8> {
    fn run<D: Dot>(self, dot: D) {
        let work = self.work();
        let Product { kernels, x, weight, epilogue, out } = self;
        let (rows, stride) = (x.rows(), weight.padded_inputs());
        with_rows::<D>(kernels, rows, stride, |scales, values| {
            quantize_rows(kernels, dot, x, scales, values);
            let (scales, values) = (&*scales, &*values);
            kernels.by_panels(D::Float::TILE_ROWS, rows, weight.panels(), work, |rows, panel| {
                let panel = weight.panel(panel);
                let block =
                    Int8Block { values, scales, stride, rows, first_row: 0, panel, column: 0, epilogue, out };
                dot.vectorize(block);
            });
        });
    }
}

impl OnDot for RowsProduct<'_, PackedInt8> {
    fn run<D: Dot>(self, dot: D) {
        let RowsProduct { kernels, x, first_row, weight, panels, column, epilogue, out } = self;
        let (rows, stride) = (x.rows(), weight.padded_inputs());
        with_rows::<D>(kernels, rows, stride, |scales, values| {
            dot.vectorize(QuantizeRows { x, first: 0, scales, values });
            let (scales, values) = (&*scales, &*values);
            for index in panels {
                let panel = weight.panel(index);
                let rows = 0..rows;
                dot.vectorize(Int8Block {
                    values,
                    scales,
                    stride,
                    rows,
                    first_row,
                    panel,
                    column,
                    epilogue,
                    out,
                });
            }
        });
    }
}

/// Calls a function with room for the scales and values of quantized rows.
fn with_rows<D: Dot>(
    kernels: &Kernels,
    rows: usize,
    stride: usize,
    function: impl FnOnce(&mut [f32], &mut [D::Value]),
) {
    // The scales fill whole cache lines, so that the values start on one.
    let scale_values = rows.next_multiple_of(16);
    let values = (rows * stride * size_of::<D::Value>()).div_ceil(size_of::<f32>());
    kernels.with_scratch(scale_values + values, |scratch| {
        let (scales, values) = scratch.split_at_mut(scale_values);
        function(&mut scales[..rows], &mut view::<D::Value>(values)[..rows * stride]);
    });
}

/// Quantizes every row, on all threads.
fn quantize_rows<D: Dot>(
    kernels: &Kernels,
    dot: D,
    x: Matrix<'_>,
    scales: &mut [f32],
    values: &mut [D::Value],
) {
    let stride = values.len() / x.rows().max(1);
    if stride == 0 {
        scales.fill(0.0);
        return;
    }
    let parts = scales.chunks_mut(QUANTIZED_ROWS).zip(values.chunks_mut(QUANTIZED_ROWS * stride));
    kernels.parallel_parts(parts, 2 * x.rows() * x.columns(), |index, (scales, values)| {
        dot.vectorize(QuantizeRows { x, first: index * QUANTIZED_ROWS, scales, values });
    });
}

/// Some rows to quantize.
struct QuantizeRows<'a, T> {
    pub(super) x: Matrix<'a>,
    pub(super) first: usize,
    pub(super) scales: &'a mut [f32],
    pub(super) values: &'a mut [T],
}

impl<T: Quantized> DotKernel<T> for QuantizeRows<'_, T> {
    #[inline(always)]
    fn run<D: Dot<Value = T>>(self, _: D) {
        let stride = self.values.len() / self.scales.len().max(1);
        for (index, scale) in self.scales.iter_mut().enumerate() {
            *scale = quantize(self.x.row(self.first + index), &mut self.values[index * stride..][..stride]);
        }
    }
}

/// Some rows of quantized inputs times one panel.
struct Int8Block<'a, T> {
    pub(super) values: &'a [T],
    /// One per row.
    pub(super) scales: &'a [f32],
    /// Length of a row, trailing zeros included.
    pub(super) stride: usize,
    pub(super) rows: Range<usize>,
    /// The output row for row 0 of `values`.
    pub(super) first_row: usize,
    pub(super) panel: Int8Panel<'a>,
    /// The output column for output 0 of the weights.
    pub(super) column: usize,
    pub(super) epilogue: &'a Epilogue<'a>,
    /// No other thread touches the block's rows and columns.
    pub(super) out: SharedMatrix<'a>,
}

/// Sums of one tile, on a cache line.
#[repr(align(64))]
struct Sums<T>([T; MAX_TILE]);

impl<T: Plain> DotKernel<T> for Int8Block<'_, T> {
    #[inline(always)]
    fn run<D: Dot<Value = T>>(self, dot: D) {
        let Self { values, scales, stride, rows, first_row, panel, column, epilogue, out } = self;
        let column = column + panel.column;
        let (mut sums, mut products) = (Sums([0_i32; MAX_TILE]), Sums([0.0_f32; MAX_TILE]));
        let width = panel.vectors * D::Float::LANES;
        let (simd, columns) = (dot.float(), panel.columns);
        let groups = stride / D::GROUP;
        let mut fetched = 0;
        let mut row = rows.start;
        while row < rows.end {
            let count = (rows.end - row).min(D::Float::TILE_ROWS);
            let tile = DotTile {
                ahead: Ahead::of(panel.next, fetched),
                a: &values[row * stride..],
                a_stride: stride,
                rows: count,
                b: panel.data,
                vectors: panel.vectors,
                groups,
            };
            tile.multiply(dot, &mut sums.0);
            fetched += groups;
            for index in 0..count {
                let scale = simd.splat(scales[row + index]);
                for start in (0..width).step_by(D::Float::LANES) {
                    let sums = &sums.0[index * width + start..][..D::Float::LANES];
                    let corrections = &panel.corrections[start..][..D::Float::LANES];
                    #[allow(unsafe_code)]
                    // SAFETY: both slices hold `LANES` values.
                    let (sums, corrections) =
                        unsafe { (dot.load(sums.as_ptr()), dot.load(corrections.as_ptr())) };
                    let scale = simd.mul(scale, simd.load(&panel.scales[start..]));
                    simd.store(
                        &mut products.0[index * width + start..],
                        simd.mul(dot.floats(dot.subtract(sums, corrections)), scale),
                    );
                }
            }
            let place = Place { row: first_row + row, rows: count, column, columns };
            #[allow(unsafe_code)]
            // SAFETY: the rows and columns of a block belong to one task only.
            unsafe {
                epilogue.store_tile(simd, &products.0, place, out);
            }
            row += count;
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::isa::Isa;

    /// The AVX-VNNI path, which this processor may lack, differs from this test path only in the encoding of one
    /// instruction.
    #[test]
    fn the_instruction_on_256_bits_gives_what_plain_code_gives() {
        let Some(dot) = super::super::x86::Avx512Vnni256::detect() else { return };
        let (rows, inputs, outputs) = (13, 70, 37);
        let x: Vec<f32> = (0..rows * inputs).map(|index| ((index * 37) % 101) as f32 - 50.0).collect();
        let run = |kernels: Kernels, dot: Option<super::super::x86::Avx512Vnni256>| {
            let mut builder = kernels.int8_builder(outputs, inputs);
            for output in 0..outputs {
                let weights = (0..inputs).map(|input| ((input * 31 + output * 17) % 256) as u8 as i8);
                builder.push(&weights.collect::<Vec<_>>(), 0.25);
            }
            let weight = builder.finish();
            let mut out = vec![0.0; rows * outputs];
            let target = MatrixMut::new(&mut out, rows, outputs);
            let x = Matrix::new(&x, rows, inputs);
            match dot {
                None => kernels.linear_int8(x, &weight, Epilogue::default(), target),
                Some(dot) => {
                    let epilogue = &Epilogue::default();
                    Product { kernels: &kernels, x, weight: &weight, epilogue, out: target.share() }.run(dot);
                }
            }
            out
        };
        let portable = Kernels::new(Isa::Portable, 1).expect("no threads");
        let wide = Kernels::new(Isa::Avx2, 1).expect("AVX2").packing_int8_for(Int8Path::AvxVnni);
        assert_eq!(run(wide, Some(dot)), run(portable, None));
    }
}
