//! What happens to a product before it is stored: bias, activation, residual.

use crate::activation::Activation;
use crate::isa::{Simd, load, store};
use crate::matrix::Matrix;

/// `finish(residual + activation(product + bias))`, or with `*` instead of the first `+` for a gate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// Added to every row: one value per column.
    pub bias: Option<&'a [f32]>,
    /// Applied after the bias.
    pub activation: Activation,
    /// Added after the activation, or multiplied for a gate.
    pub residual: Residual<'a>,
    /// Whether the residual is multiplied, as a gate, instead of added.
    pub gate: bool,
    /// Applied last, as in a ResNet block.
    pub finish: Activation,
}

/// What is added to a product.
#[derive(Clone, Copy, Debug, Default)]
pub enum Residual<'a> {
    /// Nothing.
    #[default]
    None,
    /// The current contents of the output: the product accumulates onto it.
    Output,
    /// Another matrix the size of the output.
    Matrix(Matrix<'a>),
}

impl<'a> Epilogue<'a> {
    /// Returns an epilogue that adds a bias, if there is one.
    pub fn bias(bias: Option<&'a [f32]>) -> Self {
        Self { bias, ..Self::default() }
    }

    /// Applies a function after the bias.
    pub fn activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// Adds something after the activation.
    pub fn residual(self, residual: Residual<'a>) -> Self {
        Self { residual, ..self }
    }

    /// Multiplies by something after the activation.
    pub fn gate(self, factor: Residual<'a>) -> Self {
        Self { residual: factor, gate: true, ..self }
    }

    /// Applies a function last.
    pub fn finish(self, finish: Activation) -> Self {
        Self { finish, ..self }
    }

    /// Checks the parts against the output's size.
    pub(crate) fn check(&self, rows: usize, columns: usize) {
        if let Some(bias) = self.bias {
            assert_eq!(bias.len(), columns, "a bias holds a value for each of {columns} columns");
        }
        if let Residual::Matrix(residual) = self.residual {
            let found = (residual.rows(), residual.columns());
            assert_eq!(found, (rows, columns), "a residual has the output's size");
        }
    }

    /// Returns the rough cost of one value in f32 operations.
    pub(crate) fn work(&self) -> usize {
        2 + self.activation.work() + self.finish.work()
    }

    /// Stores part of a row of sums: `out` is row `row` of the output, starting at column `column`.
    #[inline(always)]
    pub(crate) fn store<S: Simd>(&self, simd: S, sums: &[f32], row: usize, column: usize, out: &mut [f32]) {
        let sums = &sums[..out.len()];
        let bias = self.bias.map_or(&[][..], |bias| &bias[column..][..out.len()]);
        let residual = match self.residual {
            Residual::Matrix(residual) => &residual.row(row)[column..][..out.len()],
            Residual::None | Residual::Output => &[],
        };
        let mut start = 0;
        while start < out.len() {
            let end = out.len().min(start + S::LANES);
            let value = load(simd, &sums[start..end]);
            let part = |values: &'_ [f32]| if values.is_empty() { 0..0 } else { start..end };
            let (bias, residual) = (&bias[part(bias)], &residual[part(residual)]);
            self.apply(simd, value, bias, residual, &mut out[start..end]);
            start = end;
        }
    }

    /// Stores a vector of sums: `out`, at most a vector long, is row `row` of the output, starting at column `column`.
    #[inline(always)]
    pub(crate) fn store_vector<S: Simd>(
        &self,
        simd: S,
        sum: S::Vector,
        row: usize,
        column: usize,
        out: &mut [f32],
    ) {
        let bias = self.bias.map_or(&[][..], |bias| &bias[column..][..out.len()]);
        let residual = match self.residual {
            Residual::Matrix(residual) => &residual.row(row)[column..][..out.len()],
            Residual::None | Residual::Output => &[],
        };
        self.apply(simd, sum, bias, residual, out);
    }

    /// Stores a vector of sums, given the matching parts of the bias and the residual (empty if there are none).
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, sum: S::Vector, bias: &[f32], residual: &[f32], out: &mut [f32]) {
        let mut value = sum;
        if !bias.is_empty() {
            value = simd.add(value, load(simd, bias));
        }
        value = self.activation.apply(simd, value);
        let other = match self.residual {
            Residual::None => None,
            Residual::Output => Some(load(simd, out)),
            Residual::Matrix(_) => Some(load(simd, residual)),
        };
        if let Some(other) = other {
            value = if self.gate { simd.mul(value, other) } else { simd.add(value, other) };
        }
        value = self.finish.apply(simd, value);
        store(simd, out, value);
    }
}
