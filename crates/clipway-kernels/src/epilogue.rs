//! What happens to a product before it is stored: bias, activation, residual.

use crate::activation::Activation;
use crate::isa::{Simd, load, store};
use crate::matrix::{Matrix, SharedMatrix};

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

/// Activations that a tile's code is made for; the others are chosen for each vector, which is less code.
const CHOSEN: [Activation; OTHER] = [Activation::Identity, Activation::Gelu, Activation::QuickGelu];
const IDENTITY: usize = 0;
const GELU: usize = 1;
const QUICK_GELU: usize = 2;
const OTHER: usize = 3;

/// Where a tile of sums goes in the output.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) row: usize,
    pub(crate) rows: usize,
    pub(crate) column: usize,
    pub(crate) columns: usize,
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

    /// Finishes a tile of sums, whose rows are whole vectors, and stores it.
    ///
    /// The activation is chosen once for the tile, since choosing it for each vector costs as much as a short product.
    ///
    /// # Safety
    /// No other thread touches the tile's rows and columns of `out`.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(crate) unsafe fn store_tile<S: Simd>(
        &self,
        simd: S,
        sums: &[f32],
        place: Place,
        out: SharedMatrix<'_>,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.activation {
                Activation::Identity => self.store_rows::<S, IDENTITY>(simd, sums, place, out),
                Activation::Gelu => self.store_rows::<S, GELU>(simd, sums, place, out),
                Activation::QuickGelu => self.store_rows::<S, QUICK_GELU>(simd, sums, place, out),
                _ => self.store_rows::<S, OTHER>(simd, sums, place, out),
            }
        }
    }

    /// Finishes and stores a tile with the activation at a place of [`CHOSEN`], or with any.
    ///
    /// # Safety
    /// No other thread touches the tile's rows and columns of `out`.
    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn store_rows<S: Simd, const ACTIVATION: usize>(
        &self,
        simd: S,
        sums: &[f32],
        place: Place,
        out: SharedMatrix<'_>,
    ) {
        // A constant where there is one: a closure would not be compiled for the instruction set.
        let activation = CHOSEN.get(ACTIVATION).copied().unwrap_or(self.activation);
        let Place { row, rows, column, columns } = place;
        let width = columns.next_multiple_of(S::LANES);
        let bias = self.bias.map(|bias| &bias[column..][..columns]);
        // The greatest of a value and the lowest number is the value, so that ReLU needs no choice in the loop.
        let (floor, finish) = match self.finish {
            Activation::Identity => (f32::NEG_INFINITY, None),
            Activation::Relu => (0.0, None),
            other => (f32::NEG_INFINITY, Some(other)),
        };
        let floor = simd.splat(floor);
        for (index, sums) in sums[..rows * width].chunks_exact(width.max(1)).enumerate() {
            // SAFETY: the caller's promise.
            let out = unsafe { out.part(row + index, column, columns) };
            let residual = match self.residual {
                Residual::Matrix(residual) => Some(&residual.row(row + index)[column..][..columns]),
                Residual::None | Residual::Output => None,
            };
            for start in (0..columns).step_by(S::LANES) {
                let end = columns.min(start + S::LANES);
                let mut value = simd.load(&sums[start..start + S::LANES]);
                if let Some(bias) = bias {
                    value = simd.add(value, load(simd, &bias[start..end]));
                }
                value = activation.apply(simd, value);
                let other = match (residual, self.residual) {
                    (Some(residual), _) => Some(load(simd, &residual[start..end])),
                    (None, Residual::Output) => Some(load(simd, &out[start..end])),
                    (None, _) => None,
                };
                if let Some(other) = other {
                    value = if self.gate { simd.mul(value, other) } else { simd.add(value, other) };
                }
                store(simd, &mut out[start..end], simd.max(floor, value));
            }
            if let Some(finish) = finish {
                for part in out.chunks_mut(S::LANES) {
                    let value = finish.apply(simd, load(simd, part));
                    store(simd, part, value);
                }
            }
        }
    }
}
