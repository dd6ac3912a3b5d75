//! The matrix product with packed weights.

#[cfg(target_arch = "x86_64")]
use crate::bf16::{Bf16Path, multiply_all, multiply_rows};
use crate::epilogue::Epilogue;
use crate::matrix::{Matrix, MatrixMut};
use crate::pack::{PackedMatrix, PanelElement};
use crate::product::{Product, RowsProduct};
use crate::threads::Kernels;
use half::bf16;

impl Kernels {
    /// Writes `epilogue(x · Wᵀ)` to `out`: `[rows, inputs]` to `[rows, outputs]`.
    ///
    /// # Panics
    /// If sizes differ, or the weights were packed for another instruction set or path.
    #[allow(private_bounds)]
    pub fn linear<E: Products>(
        &self,
        x: Matrix<'_>,
        weight: &PackedMatrix<E>,
        epilogue: Epilogue<'_>,
        out: MatrixMut<'_>,
    ) {
        weight.check(self);
        assert_eq!(x.columns(), weight.inputs(), "x has a column for each input");
        assert_eq!((out.rows(), out.columns()), (x.rows(), weight.outputs()), "the output's size");
        epilogue.check(out.rows(), out.columns());
        E::multiply(Product { kernels: self, x, weight, epilogue: &epilogue, out: out.share() });
    }
}

/// A type of weights with a way to multiply them.
pub(crate) trait Products: PanelElement {
    /// Computes a product on all threads.
    fn multiply(product: Product<'_, Self>);

    /// Computes the product of one task.
    fn multiply_rows(product: RowsProduct<'_, Self>);
}

impl Products for f32 {
    fn multiply(product: Product<'_, f32>) {
        product.widen();
    }

    fn multiply_rows(product: RowsProduct<'_, f32>) {
        product.widen();
    }
}

impl Products for bf16 {
    fn multiply(product: Product<'_, bf16>) {
        match product.weight.path() {
            #[cfg(target_arch = "x86_64")]
            Bf16Path::Avx512Bf16 => multiply_all(product),
            _ => product.widen(),
        }
    }

    fn multiply_rows(product: RowsProduct<'_, bf16>) {
        match product.weight.path() {
            #[cfg(target_arch = "x86_64")]
            Bf16Path::Avx512Bf16 => multiply_rows(product),
            _ => product.widen(),
        }
    }
}
