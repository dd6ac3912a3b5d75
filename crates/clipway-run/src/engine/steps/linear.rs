//! Rows times a matrix.

use clipway_kernels::{MatrixMut, Residual};

use super::step::{Operation, Prepared, Step};
use crate::engine::loader::Loader;
use crate::engine::packed::Packed;
use crate::engine::recipe::{Matrix, Table, Vector};
use crate::engine::shape::{Finish, Shape};
use crate::engine::values::Values;

/// Rows times a matrix. A `table` is added to each sample, and then there is no `finish`.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::engine) struct Linear {
    pub matrix: Matrix,
    pub bias: Option<Vector>,
    pub table: Option<Table>,
    pub finish: Finish,
}

struct LinearStep {
    weight: Packed,
    bias: Option<Vec<f32>>,
    table: Option<Vec<f32>>,
    finish: Finish,
}

impl Operation for Linear {
    fn is_row_wise(&self) -> bool {
        self.table.is_none()
    }

    fn in_place(&self) -> Option<usize> {
        self.finish.second.map(|_| 1)
    }

    fn prepare(&self, _: Shape, loader: &Loader<'_>) -> Prepared {
        Ok(Box::new(LinearStep {
            weight: loader.packed(&self.matrix)?,
            bias: loader.optional(self.bias.as_ref())?,
            table: self.table.as_ref().map(|table| loader.table(table)).transpose()?,
            finish: self.finish,
        }))
    }
}

impl Step for LinearStep {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        let mut epilogue = values.epilogue(self.bias.as_deref(), self.finish);
        if let Some(table) = &self.table {
            values.repeat(table, out);
            epilogue = epilogue.residual(Residual::Output);
        }
        let out = MatrixMut::new(out, values.rows(), values.width());
        self.weight.multiply(values.kernels, values.matrix(0), epilogue, out);
    }
}
