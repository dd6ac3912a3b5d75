//! A table of which single rows are taken, in the precision of the engine.

use clipway_model::graph::{ParameterId, WeightLayout};
use half::bf16;

use super::compute::Compute;
use super::error::EngineError;
use super::loader::Loader;
use super::recipe::Matrix;

/// Rows of `width` values.
pub(super) struct Lookup {
    width: usize,
    rows: LookupRows,
}

enum LookupRows {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    /// Each row with its factor.
    Int8(Vec<i8>, Vec<f32>),
}

impl Lookup {
    /// Writes a row to `out`, which is as long.
    pub fn copy(&self, row: usize, out: &mut [f32]) {
        let place = row * self.width..(row + 1) * self.width;
        match &self.rows {
            LookupRows::F32(values) => out.copy_from_slice(&values[place]),
            LookupRows::Bf16(values) => {
                out.iter_mut().zip(&values[place]).for_each(|(out, value)| *out = value.to_f32());
            }
            LookupRows::Int8(values, scales) => {
                let scale = scales[row];
                out.iter_mut().zip(&values[place]).for_each(|(out, value)| *out = f32::from(*value) * scale);
            }
        }
    }
}

impl Loader<'_> {
    /// Reads a table `[rows, width]`.
    pub fn lookup(&self, table: ParameterId) -> Result<Lookup, EngineError> {
        let &[count, width] = &self.parameters.get(table).shape[..] else {
            unreachable!("the graph has checked that a table has two dimensions")
        };
        let matrix = Matrix::of(table, WeightLayout::OutIn, count, width);
        let block = &matrix.blocks[0];
        let rows = match self.compute {
            Compute::Bf16 => {
                let mut values = Vec::with_capacity(count * width);
                self.float_rows(block, width, &mut |rows| {
                    values.extend(rows.iter().map(|value| bf16::from_f32(*value)));
                })?;
                LookupRows::Bf16(values)
            }
            _ if self.takes_int8(&matrix) => {
                let (mut values, mut scales) = (Vec::with_capacity(count * width), Vec::with_capacity(count));
                self.int8_rows(&matrix, &mut |row, scale| {
                    values.extend_from_slice(row);
                    scales.push(scale);
                })?;
                LookupRows::Int8(values, scales)
            }
            _ => LookupRows::F32(self.owned(table)?),
        };
        Ok(Lookup { width, rows })
    }
}
