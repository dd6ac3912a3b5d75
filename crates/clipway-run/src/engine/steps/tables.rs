//! Rows of tables: embeddings and positions.

use clipway_model::graph::{ParameterId, TextPositions};

use super::step::{Operation, Prepared, Step};
use crate::engine::loader::Loader;
use crate::engine::lookup::Lookup;
use crate::engine::positions::{Positions, Table as PositionTable};
use crate::engine::recipe::Table;
use crate::engine::shape::Shape;
use crate::engine::values::Values;

/// Adds a table to each sample.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::engine) struct AddTable(pub Table);

struct AddTableStep(Vec<f32>);

impl Operation for AddTable {
    fn in_place(&self) -> Option<usize> {
        Some(0)
    }

    fn prepare(&self, _: Shape, loader: &Loader<'_>) -> Prepared {
        Ok(Box::new(AddTableStep(loader.table(&self.0)?)))
    }
}

impl Step for AddTableStep {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        values.copy_input(out);
        for sample in 0..values.batch.samples {
            let out = values.own(out, sample);
            values.kernels.add(&self.0[..out.len()], out);
        }
    }
}

/// Adds one row of a parameter to each row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct AddRow {
    pub table: ParameterId,
    pub row: usize,
}

struct AddRowStep(Vec<f32>);

impl Operation for AddRow {
    fn is_row_wise(&self) -> bool {
        true
    }

    fn in_place(&self) -> Option<usize> {
        Some(0)
    }

    fn prepare(&self, _: Shape, loader: &Loader<'_>) -> Prepared {
        Ok(Box::new(AddRowStep(loader.row(self.table, self.row)?)))
    }
}

impl Step for AddRowStep {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        values.copy_input(out);
        values.kernels.add(&self.0, out);
    }
}

/// Adds to each token the encoding of its position among the tokens that are not padding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct AddTextPositions {
    pub positions: TextPositions,
    pub padding: i64,
}

struct AddTextPositionsStep {
    positions: Positions,
    padding: i64,
}

impl Operation for AddTextPositions {
    fn in_place(&self) -> Option<usize> {
        Some(0)
    }

    fn prepare(&self, shape: Shape, loader: &Loader<'_>) -> Prepared {
        let positions = match self.positions {
            TextPositions::Table(id) => {
                let rows = loader.parameters.get(id).shape[0];
                Positions::Table(PositionTable { values: loader.owned(id)?, rows })
            }
            TextPositions::Sinusoids => Positions::sinusoids(shape.width),
        };
        Ok(Box::new(AddTextPositionsStep { positions, padding: self.padding }))
    }
}

impl Step for AddTextPositionsStep {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        values.copy_input(out);
        let width = values.width();
        for sample in 0..values.batch.samples {
            let out = values.own(out, sample);
            let ids = &values.batch.ids(sample)[..out.len() / width];
            self.positions.add(ids, self.padding, width, out);
        }
    }
}

/// Rows of a parameter selected by token ids, with positions added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct Embedding {
    pub table: ParameterId,
    pub positions: Option<ParameterId>,
}

struct EmbeddingStep {
    table: Lookup,
    positions: Option<Vec<f32>>,
}

impl Operation for Embedding {
    fn prepare(&self, _: Shape, loader: &Loader<'_>) -> Prepared {
        Ok(Box::new(EmbeddingStep {
            table: loader.lookup(self.table)?,
            positions: self.positions.map(|positions| loader.owned(positions)).transpose()?,
        }))
    }
}

impl Step for EmbeddingStep {
    fn run(&self, values: &Values<'_>, out: &mut [f32]) {
        let width = values.width();
        for sample in 0..values.batch.samples {
            let range = values.batch.range(values.own_shape().rows, sample);
            let ids = values.batch.ids(sample);
            for (token, row) in range.enumerate() {
                let out = &mut out[row * width..][..width];
                // Ids were checked against the table together with the input.
                let id = usize::try_from(ids[token]).unwrap_or(0);
                self.table.copy(id, out);
                if let Some(positions) = &self.positions {
                    let position = &positions[token * width..][..width];
                    out.iter_mut().zip(position).for_each(|(value, position)| *value += position);
                }
            }
        }
    }
}
