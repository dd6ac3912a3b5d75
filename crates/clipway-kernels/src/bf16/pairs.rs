//! The matrix product of rows rounded to bf16 and pairs of bf16 weights.

use super::x86::{Avx512Bf16, PairKernel};
use crate::buffer::view;
use crate::isa::{Multiply, Simd};
use crate::matrix::Matrix;
use crate::pack::PackedMatrix;
use crate::product::{Block, Product, RowsProduct};
use half::bf16;

const TILE_ROWS: usize = <Avx512Bf16 as Multiply>::Simd::TILE_ROWS;

/// Rows rounded per task.
const ROUNDED_ROWS: usize = 16;

/// Computes a product on all threads: first every row is rounded, then the rounded rows are multiplied.
pub(crate) fn multiply_all(product: Product<'_, PackedMatrix<bf16>>) {
    let work = product.work();
    let Product { kernels, x, weight, epilogue, out } = product;
    let pairs = Avx512Bf16::detect().expect("AVX-512 BF16 was detected");
    let (rows, depth) = (x.rows(), weight.padded_inputs());
    kernels.with_scratch((rows * depth).div_ceil(2), |scratch| {
        let values = &mut view::<bf16>(scratch)[..rows * depth];
        let parts = values.chunks_mut((ROUNDED_ROWS * depth).max(1));
        kernels.parallel_parts(parts, rows * depth, |index, values| {
            pairs.vectorize(RoundRows { x, first: index * ROUNDED_ROWS, values });
        });
        let a = &*values;
        kernels.by_panels(TILE_ROWS, rows, weight.panels(), work, |rows, panel| {
            let (stride, first_row, panel, column) = (depth, 0, weight.panel(panel), 0);
            pairs.vectorize(Block { a, stride, depth, rows, first_row, panel, column, epilogue, out });
        });
    });
}

/// Rounds some rows of one task and multiplies them by some panels.
pub(crate) fn multiply_rows(product: RowsProduct<'_, PackedMatrix<bf16>>) {
    let RowsProduct { kernels, x, first_row, weight, panels, column, epilogue, out } = product;
    let pairs = Avx512Bf16::detect().expect("AVX-512 BF16 was detected");
    let depth = weight.padded_inputs();
    kernels.with_scratch((x.rows() * depth).div_ceil(2), |scratch| {
        let values = &mut view::<bf16>(scratch)[..x.rows() * depth];
        pairs.vectorize(RoundRows { x, first: 0, values });
        let a = &*values;
        for index in panels {
            let (stride, rows, panel) = (depth, 0..x.rows(), weight.panel(index));
            pairs.vectorize(Block { a, stride, depth, rows, first_row, panel, column, epilogue, out });
        }
    });
}

/// Some rows to round.
struct RoundRows<'a> {
    x: Matrix<'a>,
    first: usize,
    /// Whole pairs in each row.
    values: &'a mut [bf16],
}

impl PairKernel for RoundRows<'_> {
    #[inline(always)]
    fn run(self, pairs: Avx512Bf16) {
        let depth = self.x.columns().next_multiple_of(Avx512Bf16::GROUP);
        for (index, values) in self.values.chunks_exact_mut(depth.max(1)).enumerate() {
            pairs.round_row(self.x.row(self.first + index), values);
        }
    }
}

impl PairKernel for Block<'_, bf16, bf16> {
    #[inline(always)]
    fn run(self, pairs: Avx512Bf16) {
        self.multiply(pairs);
    }
}
