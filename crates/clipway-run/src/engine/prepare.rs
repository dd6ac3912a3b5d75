//! The steps of a program with their numbers, made on all threads.

use clipway_kernels::{Kernels, PackedConv, PackedMatrix, Window as KernelWindow};
use clipway_model::graph::{Activation, AttentionBias, Mask, Parameters, TextPositions};
use clipway_model::plan::{resample_distances, resample_grid};
use rayon::prelude::*;

use super::bias::{Bias, GridMlp};
use super::error::EngineError;
use super::loader::{Loader, kernel_window, single};
use super::positions::{Positions, Table as PositionTable};
use super::program::{Finish, Node, Op, Program, Reduction, Select, Unpadded};
use super::recipe::Table;
use super::turn::Turn;
use super::weights::Weights;
use super::windows::WindowBias;

/// A node with its numbers, ready to run.
pub(super) enum Step {
    Input,
    ToRows,
    Patches {
        kernel: [usize; 2],
        leading: usize,
    },
    Linear {
        weight: PackedMatrix,
        bias: Option<Vec<f32>>,
        table: Option<Vec<f32>>,
        finish: Finish,
    },
    Conv {
        conv: PackedConv,
        bias: Option<Vec<f32>>,
        finish: Finish,
    },
    LayerNorm {
        weight: Vec<f32>,
        bias: Option<Vec<f32>>,
        epsilon: f32,
    },
    RmsNorm {
        weight: Vec<f32>,
        epsilon: f32,
    },
    UnitHeads(usize),
    Affine {
        scale: Vec<f32>,
        shift: Option<Vec<f32>>,
    },
    Attention {
        heads: usize,
        scale: f32,
        mask: Mask,
        bias: Option<Bias>,
        turn: Option<Turn>,
        columns: [usize; 3],
    },
    Rotary {
        heads: usize,
        turn: Turn,
    },
    WindowAttention {
        heads: usize,
        bias: WindowBias,
    },
    Arrange(Vec<usize>),
    Activation(Activation),
    Add,
    Multiply,
    Subtract,
    Gate,
    AddTable(Vec<f32>),
    AddRow(Vec<f32>),
    AddTextPositions {
        positions: Positions,
        padding: i64,
    },
    Embedding {
        table: Vec<f32>,
        positions: Option<Vec<f32>>,
    },
    Prepend(Vec<f32>),
    Drop(usize),
    Append(Vec<f32>),
    PrependMean,
    Queries(Vec<f32>),
    AveragePool(KernelWindow),
    Select(Select),
    Reduce {
        skip: usize,
        reduction: Reduction,
    },
    PoolUnpadded {
        padding: i64,
        by: Unpadded,
    },
}

/// Prepares every node of a program.
pub(super) fn prepare(
    program: &Program,
    parameters: &Parameters,
    weights: &dyn Weights,
    kernels: &Kernels,
) -> Result<Vec<Step>, EngineError> {
    let loader = Loader::new(parameters, weights, kernels);
    kernels.install(|| program.nodes.par_iter().with_max_len(1).map(|node| loader.step(node)).collect())
}

impl Loader<'_> {
    fn step(&self, node: &Node) -> Result<Step, EngineError> {
        Ok(match &node.op {
            Op::Pixels | Op::TokenIds { .. } => Step::Input,
            Op::ToRows => Step::ToRows,
            &Op::Patches { kernel, leading } => Step::Patches { kernel, leading },
            Op::Linear { matrix, bias, table, finish } => Step::Linear {
                weight: self.packed(matrix)?,
                bias: self.optional(bias.as_ref())?,
                table: table.as_ref().map(|table| self.table(table)).transpose()?,
                finish: *finish,
            },
            Op::Conv { filters, bias, window, groups, finish } => Step::Conv {
                conv: self.conv(filters, *window, *groups)?,
                bias: self.optional(bias.as_ref())?,
                finish: *finish,
            },
            Op::LayerNorm { weight, bias, epsilon } => Step::LayerNorm {
                weight: self.owned(*weight)?,
                bias: bias.map(|bias| self.owned(bias)).transpose()?,
                epsilon: *epsilon as f32,
            },
            Op::RmsNorm { weight, epsilon } => {
                Step::RmsNorm { weight: self.owned(*weight)?, epsilon: *epsilon as f32 }
            }
            Op::UnitHeads(heads) => Step::UnitHeads(*heads),
            Op::Affine { scale, shift } => {
                Step::Affine { scale: single(&self.vector(scale)?), shift: self.optional(shift.as_ref())? }
            }
            &Op::Rotary { heads, rotation } => {
                Step::Rotary { heads, turn: Turn::new(&rotation, node.shape.width / heads) }
            }
            &Op::Attention { heads, scale, mask, bias, rotation, columns } => {
                let bias = bias.map(|bias| self.bias(bias)).transpose()?;
                let turn = rotation.map(|rotation| Turn::new(&rotation, node.shape.width / heads));
                Step::Attention { heads, scale, mask, bias, turn, columns }
            }
            &Op::WindowAttention { heads, windows, table } => {
                let mut values = self.owned(table.table)?;
                if table.window != windows.window {
                    values = resample_distances(&values, [table.window, windows.window], heads);
                }
                Step::WindowAttention { heads, bias: WindowBias::new(&windows, &values, heads) }
            }
            Op::Arrange(rows) => Step::Arrange(rows.clone()),
            Op::Activation(activation) => Step::Activation(*activation),
            Op::Add => Step::Add,
            Op::Multiply => Step::Multiply,
            Op::Subtract => Step::Subtract,
            Op::Gate => Step::Gate,
            Op::AddTable(table) => Step::AddTable(self.table(table)?),
            &Op::AddRow { table, row } => Step::AddRow(self.row(table, row)?),
            &Op::AddTextPositions { positions, padding } => {
                let positions = match positions {
                    TextPositions::Table(id) => {
                        let rows = self.parameters.get(id).shape[0];
                        Positions::Table(PositionTable { values: self.owned(id)?, rows })
                    }
                    TextPositions::Sinusoids => Positions::sinusoids(node.shape.width),
                };
                Step::AddTextPositions { positions, padding }
            }
            Op::Embedding { table, positions } => Step::Embedding {
                table: self.owned(*table)?,
                positions: positions.map(|positions| self.owned(positions)).transpose()?,
            },
            Op::Prepend(token) => Step::Prepend(self.owned(*token)?),
            Op::Append(token) => Step::Append(self.owned(*token)?),
            Op::PrependMean => Step::PrependMean,
            Op::Drop(count) => Step::Drop(*count),
            Op::Queries(tokens) => Step::Queries(self.owned(*tokens)?),
            Op::AveragePool(window) => Step::AveragePool(kernel_window(*window)),
            Op::Select(select) => Step::Select(*select),
            &Op::Reduce { skip, reduction } => Step::Reduce { skip, reduction },
            &Op::PoolUnpadded { padding, by } => Step::PoolUnpadded { padding, by },
        })
    }

    /// The rows that are added to each sample.
    fn table(&self, table: &Table) -> Result<Vec<f32>, EngineError> {
        let mut positions = self.owned(table.positions)?;
        let width = self.parameters.get(table.positions).matrix_shape()[1];
        if let Some(change) = table.change {
            positions = resample_grid(&positions, change, width);
        }
        let mut values = Vec::new();
        for token in &table.leading {
            values.extend(self.owned(*token)?);
        }
        let leading = values.len();
        if table.leading_have_positions {
            values.iter_mut().zip(&positions).for_each(|(value, position)| *value += position);
            values.extend_from_slice(positions.get(leading..).unwrap_or(&[]));
        } else {
            values.extend_from_slice(&positions);
        }
        if let Some(bias) = &table.bias {
            let bias = self.vector(bias)?;
            for row in values[leading..].chunks_exact_mut(width) {
                row.iter_mut().zip(&bias).for_each(|(value, b)| *value = (f64::from(*value) + b) as f32);
            }
        }
        Ok(values)
    }

    /// What an attention adds to its scores.
    fn bias(&self, bias: AttentionBias) -> Result<Bias, EngineError> {
        match bias {
            AttentionBias::GridMlp { hidden_weight, hidden_bias, weight, bias, grid, skip } => {
                let mlp = GridMlp {
                    hidden_weight: self.owned(hidden_weight)?,
                    hidden_bias: self.owned(hidden_bias)?,
                    weight: self.owned(weight)?,
                    bias: self.owned(bias)?,
                };
                Ok(Bias::of_grid(&mlp, grid, skip))
            }
            AttentionBias::Buckets { table, reach } => {
                let shape = &self.parameters.get(table).shape;
                Ok(Bias::of_buckets(&self.owned(table)?, [shape[0], shape[1]], reach))
            }
        }
    }
}
