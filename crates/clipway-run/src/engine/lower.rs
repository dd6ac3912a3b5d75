//! A graph in the engine's form, one operation per node; passes then make it fast.

use clipway_model::graph::{
    Dim, Graph, MeanWindow, Node, Operation, ParameterId, Parameters, Pool, ValueId, WeightLayout,
    merged_patches,
};

use super::error::EngineError;
use super::pixels::PatchOrder;
use super::program::{Id, Program};
use super::recipe::{Matrix, NormParameters, Table, Vector};
use super::shape::{Finish, Rows, Select, Shape, Window};
use super::steps::{
    Activate, AddRow, AddTable, AddTextPositions, Affine, Append, Arrange, Attention, AveragePool, Conv,
    DropRows, Embedding, LayerNorm, Linear, Op, Pairwise, Patches, Pixels, PoolUnpadded, Prepend,
    PrependMean, Queries, Reduce, Reduction, ResponseNorm, RmsNorm, Rotary, ToRows, TokenIds, UnitHeads,
    Unpadded, WindowAttention,
};

/// Lowers a tower to the engine's form and keeps the values of the named nodes.
pub(super) fn lower(
    graph: &Graph,
    parameters: &Parameters,
    kept: Vec<(String, ValueId)>,
) -> Result<Program, EngineError> {
    let program = Program { nodes: Vec::new(), output: 0, kept: Vec::new(), cut: None };
    let mut lowering = Lowering { parameters, program, places: Vec::new() };
    for node in &graph.nodes {
        let place = lowering.node(node)?;
        lowering.places.push(place);
    }
    let Lowering { mut program, places, .. } = lowering;
    program.output = places[graph.output.index()];
    program.kept = kept.into_iter().map(|(name, node)| (name, places[node.index()])).collect();
    program.tidy();
    Ok(program)
}

struct Lowering<'p> {
    parameters: &'p Parameters,
    program: Program,
    /// The lowered form of each graph value.
    places: Vec<Id>,
}

impl Lowering<'_> {
    fn node(&mut self, node: &Node) -> Result<Id, EngineError> {
        let inputs: Vec<Id> = node.inputs.iter().map(|value| self.places[value.index()]).collect();
        let first = inputs.first().copied().unwrap_or(0);
        let shape = shape(node)?;
        let op: Op = match node.operation {
            Operation::Pixels => {
                let pixels = self.program.push(Pixels, vec![], shape, &node.scope);
                return Ok(self.program.push(ToRows, vec![pixels], shape, &node.scope));
            }
            Operation::Patches { size } => {
                let op = Patches { kernel: size, leading: 0, order: PatchOrder::ChannelsLast };
                let pixels = self.program.nodes[first].inputs.clone();
                if !matches!(self.program.nodes[first].op, Op::ToRows(_)) {
                    return Err(EngineError::Unsupported {
                        scope: node.scope.clone(),
                        operation: node.operation.label(),
                        reason: "only an image itself is cut into patches".to_owned(),
                    });
                }
                return Ok(self.program.push(op, pixels, shape, &node.scope));
            }
            Operation::Flatten => return Ok(first),
            Operation::Unflatten { size } => return self.unflatten(first, size, node),
            Operation::TokenIds { most } => TokenIds { most }.into(),
            Operation::Linear { weight, bias, layout, rows } => {
                let (inputs, stored) = self.matrix_size(weight, layout);
                let matrix = Matrix::of(weight, layout, stored, inputs);
                let bias = bias.map(Vector::Parameter);
                let (matrix, bias) = match rows {
                    None => (matrix, bias),
                    Some(rows) => (
                        matrix.part(rows.weight..rows.weight + rows.count),
                        bias.map(|b| b.part(rows.bias..rows.bias + rows.count)),
                    ),
                };
                Linear { matrix, bias, table: None, finish: Finish::default() }.into()
            }
            Operation::Conv2d { weight, bias, stride, padding, groups } => {
                let filters = &self.parameters.get(weight).shape;
                let matrix =
                    Matrix::of(weight, WeightLayout::OutIn, filters[0], filters[1..].iter().product());
                Conv {
                    filters: matrix,
                    bias: bias.map(Vector::Parameter),
                    window: Window { kernel: [filters[2], filters[3]], stride, padding },
                    groups,
                    finish: Finish::default(),
                }
                .into()
            }
            Operation::BatchNorm { weight, bias, mean, variance, epsilon } => Affine {
                scale: Vector::NormScale { weight, variance, epsilon },
                shift: Some(Vector::NormShift {
                    norm: NormParameters { weight, bias, mean, variance },
                    epsilon,
                }),
            }
            .into(),
            Operation::LayerNorm { weight, bias, epsilon }
            | Operation::HeadNorm { weight, bias, epsilon } => LayerNorm { weight, bias, epsilon }.into(),
            Operation::RmsNorm { weight, epsilon } => RmsNorm { weight, epsilon }.into(),
            Operation::ResponseNorm { weight, bias, epsilon } => {
                ResponseNorm { weight, bias, epsilon }.into()
            }
            Operation::UnitHeads { heads } => UnitHeads(heads).into(),
            Operation::ScaleHeads { factors, limit } => {
                let times = shape.width / self.parameters.get(factors).elements();
                Affine { scale: Vector::Repeated { factors, times, limit }, shift: None }.into()
            }
            Operation::Attention { heads, scale, mask, bias } => {
                let width = shape.width;
                let values = node.inputs.len() - usize::from(self.has_ids(node));
                let (inputs, columns) = match values {
                    1 => (vec![first; 3], [0, width, 2 * width]),
                    _ => (inputs[..3].to_vec(), [0; 3]),
                };
                let op = Attention { heads, scale, mask, bias, rotation: None, columns };
                return Ok(self.program.push(op, inputs, shape, &node.scope));
            }
            Operation::Rotary { heads, rotation } => Rotary { heads, rotation }.into(),
            Operation::Activation(activation) => Activate(activation).into(),
            Operation::Add => Pairwise::Add.into(),
            Operation::Multiply => Pairwise::Multiply.into(),
            Operation::Subtract => Pairwise::Subtract.into(),
            Operation::Gate => Pairwise::Gate.into(),
            Operation::MeanMap => Reduce { skip: 0, reduction: Reduction::Mean }.into(),
            Operation::AddPositions { table, change } => {
                let stored = self.parameters.get(table).matrix_shape()[0];
                AddTable(Table {
                    positions: table,
                    change,
                    leading: Vec::new(),
                    leading_have_positions: true,
                    bias: None,
                    tokens: change.and_then(|change| change.rows()).map_or(stored, |[_, rows]| rows),
                })
                .into()
            }
            Operation::AddRow { table, row } => AddRow { table, row }.into(),
            Operation::AddTextPositions { positions, padding } => {
                AddTextPositions { positions, padding }.into()
            }
            Operation::Times { factor } => {
                Affine { scale: Vector::Constant(factor, shape.width), shift: None }.into()
            }
            Operation::Scale { factors } => Affine { scale: Vector::Parameter(factors), shift: None }.into(),
            Operation::Embedding { table } => Embedding { table, positions: None }.into(),
            Operation::PrependToken { token } => Prepend(token).into(),
            Operation::AppendToken { token } => Append(token).into(),
            Operation::PrependMean => PrependMean.into(),
            Operation::DropTokens { count } => DropRows(count).into(),
            Operation::Queries { tokens } => Queries(tokens).into(),
            Operation::AveragePool(MeanWindow { kernel, stride, padding }) => {
                AveragePool(Window { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2] }).into()
            }
            Operation::WindowAttention { heads, windows, table } => {
                WindowAttention { heads, windows, table }.into()
            }
            Operation::Windows(windows) => Arrange(windows.order()).into(),
            Operation::Unwindows(windows) => Arrange(windows.inverse()).into(),
            Operation::MergePatches { size } => Arrange(merged_patches(size)).into(),
            Operation::Pool(pool) => match pool {
                Pool::First => Select::First.into(),
                Pool::Last => Select::Last.into(),
                Pool::Argmax | Pool::Eos(_) | Pool::EosOrLast { .. } => Select::Ids(pool).into(),
                Pool::Mean { skip } => Reduce { skip, reduction: Reduction::Mean }.into(),
                Pool::Max { skip } => Reduce { skip, reduction: Reduction::Max }.into(),
                Pool::MeanAndMax { skip } => Reduce { skip, reduction: Reduction::MeanAndMax }.into(),
                Pool::MeanMax { skip } => Reduce { skip, reduction: Reduction::MeanMax }.into(),
                Pool::MeanUnpadded(padding) => PoolUnpadded { padding, by: Unpadded::Mean }.into(),
                Pool::MaxUnpadded(padding) => PoolUnpadded { padding, by: Unpadded::Max }.into(),
            },
        };
        let inputs = match op {
            // The ids are available at run time.
            Op::Select(_) | Op::PoolUnpadded(_) | Op::AddTextPositions(_) => vec![first],
            _ => inputs,
        };
        Ok(self.program.push(op, inputs, shape, &node.scope))
    }

    /// A sequence already consists of rows; only its size as a map is recorded.
    fn unflatten(&mut self, input: Id, size: [usize; 2], node: &Node) -> Result<Id, EngineError> {
        let map = &mut self.program.nodes[input].shape.map;
        match map.replace(size) {
            Some(before) if before != size => Err(EngineError::Unsupported {
                scope: node.scope.clone(),
                operation: node.operation.label(),
                reason: format!("the sequence is a map of {}x{} already", before[0], before[1]),
            }),
            _ => Ok(input),
        }
    }

    /// Numbers of inputs and stored outputs of a linear weight.
    fn matrix_size(&self, weight: ParameterId, layout: WeightLayout) -> (usize, usize) {
        let shape = &self.parameters.get(weight).shape;
        match layout {
            WeightLayout::OutIn => (shape[1], shape[0]),
            WeightLayout::InOut => (shape[0], shape[1]),
        }
    }

    /// Whether the last input of an attention is the token ids.
    fn has_ids(&self, node: &Node) -> bool {
        let last = node.inputs.last().map(|value| self.places[value.index()]);
        last.is_some_and(|place| matches!(self.program.nodes[place].op, Op::TokenIds(_)))
    }
}

/// The shape of a node's value, as rows.
fn shape(node: &Node) -> Result<Shape, EngineError> {
    let rows = |dim: Dim| match dim {
        Dim::Fixed(rows) => Some(Rows::Fixed(rows)),
        Dim::Length(extra) => Some(Rows::Text(extra)),
        Dim::Batch => None,
    };
    let shape = match *node.shape.as_slice() {
        [Dim::Batch, Dim::Fixed(channels), Dim::Fixed(height), Dim::Fixed(width)] => {
            Some(Shape { rows: Rows::Fixed(height * width), width: channels, map: Some([height, width]) })
        }
        [Dim::Batch, tokens, Dim::Fixed(width)] => rows(tokens).map(|rows| Shape { rows, width, map: None }),
        [Dim::Batch, tokens] if matches!(node.operation, Operation::TokenIds { .. }) => {
            rows(tokens).map(|rows| Shape { rows, width: 1, map: None })
        }
        [Dim::Batch, Dim::Fixed(width)] => Some(Shape { rows: Rows::Fixed(1), width, map: None }),
        [Dim::Batch, tokens] => rows(tokens).map(|rows| Shape { rows, width: 1, map: None }),
        _ => None,
    };
    shape.ok_or_else(|| EngineError::Unsupported {
        scope: node.scope.clone(),
        operation: node.operation.label(),
        reason: format!("a value of shape {:?}", node.shape),
    })
}
