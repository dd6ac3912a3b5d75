//! The matrix product with packed weights.

#[cfg(target_arch = "x86_64")]
use crate::bf16::{Bf16Path, multiply_all, multiply_rows};
use crate::epilogue::Epilogue;
use crate::matrix::{Matrix, MatrixMut};
use crate::pack::PackedMatrix;
use crate::product::{PackedWeights, Product, Products, RowsProduct};
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
        self.product(x, weight, &epilogue, out);
    }
}

impl<E: Products> PackedWeights for PackedMatrix<E> {
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
        2 * self.inputs()
    }

    fn check(&self, kernels: &Kernels) {
        let expected = (kernels.isa(), E::path(kernels.bf16_path()));
        assert_eq!((self.isa(), self.path()), expected, "the weights are packed for these kernels");
    }

    fn multiply(product: Product<'_, Self>) {
        E::multiply(product);
    }

    fn multiply_rows(product: RowsProduct<'_, Self>) {
        E::multiply_rows(product);
    }
}

impl Products for f32 {
    fn multiply(product: Product<'_, PackedMatrix>) {
        product.widen();
    }

    fn multiply_rows(product: RowsProduct<'_, PackedMatrix>) {
        product.widen();
    }
}

impl Products for bf16 {
    fn multiply(product: Product<'_, PackedMatrix<bf16>>) {
        match product.weight.path() {
            #[cfg(target_arch = "x86_64")]
            Bf16Path::Avx512Bf16 => multiply_all(product),
            _ => product.widen(),
        }
    }

    fn multiply_rows(product: RowsProduct<'_, PackedMatrix<bf16>>) {
        match product.weight.path() {
            #[cfg(target_arch = "x86_64")]
            Bf16Path::Avx512Bf16 => multiply_rows(product),
            _ => product.widen(),
        }
    }
}
