//! The engine's own form of a tower: values are rows of channels, and a step may do more than one operation.
//!
//! A sequence `[batch, tokens, width]` and a map `[batch, channels, height, width]` are both rows: one of
//! `width` channels for each token or place, sample after sample. So flattening a map costs nothing, and texts
//! of different lengths lie one after the other without padding.

use clipway_model::graph::{
    Activation, AttentionBias, Mask, ParameterId, Pool, Rotation, TextPositions, WindowTable, Windows,
};

use super::recipe::{Matrix, Table, Vector};

/// Index of a node, and so of its value.
pub(super) type Id = usize;

/// Rows of each sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Rows {
    /// The same for each.
    Fixed(usize),
    /// Tokens of the text, plus so many.
    Text(usize),
}

/// Shape of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub rows: Rows,
    pub width: usize,
    /// Height and width of a map, whose rows are its places.
    pub map: Option<[usize; 2]>,
}

/// Window of a convolution or of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
}

/// What is done to a product before it is stored: `after(before(product + bias) + second input)`, or times it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Finish {
    pub before: Option<Activation>,
    /// What is done with the second input, if there is one.
    pub second: Option<Combine>,
    pub after: Option<Activation>,
}

/// How two values become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Combine {
    Add,
    Multiply,
}

/// Which row of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Select {
    First,
    Last,
    /// The row that the token ids choose.
    Ids(Pool),
}

/// How one row is made of several, channel by channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reduction {
    Mean,
    Max,
    /// Half the sum of the two.
    MeanMax,
    /// The two, one after the other.
    MeanAndMax,
}

/// What a node computes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Op {
    /// The tower's input.
    Pixels,
    /// The tower's input: texts of at most so many tokens.
    TokenIds { most: usize },
    /// Pixels as a map of three channels.
    ToRows,
    /// Pixels as rows of whole patches, channel by channel, after `leading` rows of zeros.
    Patches { kernel: [usize; 2], leading: usize },
    /// Rows times a matrix. A `table` is added to each sample, and then there is no `finish`.
    Linear { matrix: Matrix, bias: Option<Vector>, table: Option<Table>, finish: Finish },
    /// Convolution of a map; the matrix is the filters, `[outputs, channels / groups · kernel]`.
    Conv { filters: Matrix, bias: Option<Vector>, window: Window, groups: usize, finish: Finish },
    /// Normalisation of each run of channels as long as the weight, which may be the whole row.
    LayerNorm { weight: ParameterId, bias: Option<ParameterId>, epsilon: f64 },
    /// Normalisation of each row by the root of its mean square.
    RmsNorm { weight: ParameterId, epsilon: f64 },
    /// Each of so many runs of channels divided by its length.
    UnitHeads(usize),
    /// `row · scale + shift`, channel by channel.
    Affine { scale: Vector, shift: Option<Vector> },
    /// Attention. Inputs: values that hold queries, keys and values from these columns on.
    Attention {
        heads: usize,
        scale: f32,
        mask: Mask,
        bias: Option<AttentionBias>,
        /// Turns the heads of queries and keys first.
        rotation: Option<Rotation>,
        columns: [usize; 3],
    },
    /// Heads turned by the place of the row in its sample.
    Rotary { heads: usize, rotation: Rotation },
    /// Attention within windows; see `clipway_model::graph::Operation::WindowAttention`.
    WindowAttention { heads: usize, windows: Windows, table: WindowTable },
    /// A sample's rows in another order: the row that comes to each place. Where rows become wider, several stand
    /// side by side.
    Arrange(Vec<usize>),
    /// An elementwise function.
    Activation(Activation),
    /// Sum of two values.
    Add,
    /// Product of two values, element by element.
    Multiply,
    /// The first of two values less the second.
    Subtract,
    /// Each row of a sample times the sample's one row of the second input.
    Gate,
    /// Adds a table to each sample.
    AddTable(Table),
    /// Adds one row of a parameter to each row.
    AddRow { table: ParameterId, row: usize },
    /// Adds to each token what stands for its position among the tokens that are not padding.
    AddTextPositions { positions: TextPositions, padding: i64 },
    /// Rows of a parameter chosen by token ids, with positions added.
    Embedding { table: ParameterId, positions: Option<ParameterId> },
    /// A parameter's rows before the rows of each sample.
    Prepend(ParameterId),
    /// The rows of each sample without the first so many.
    Drop(usize),
    /// A parameter's row after the rows of each sample.
    Append(ParameterId),
    /// The mean of a sample's rows before them.
    PrependMean,
    /// A parameter as the rows of each sample.
    Queries(ParameterId),
    /// Mean over windows of a map; what lies beyond it does not count.
    AveragePool(Window),
    /// One row of each sample.
    Select(Select),
    /// One row of a sample's rows after the first so many.
    Reduce { skip: usize, reduction: Reduction },
    /// Mean or greatest values of a text's rows whose id is not that of padding.
    PoolUnpadded { padding: i64, by: Unpadded },
}

/// What is made of the rows that are not padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unpadded {
    Mean,
    Max,
}

/// Where a text is cut: what comes after cannot change its feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// After the token that this pool chooses.
    Pooled(Pool),
    /// After the last token whose id is not this one, which is that of padding; the first token stays.
    Padding(i64),
}

impl Op {
    /// Whether each row of the result depends on the same row of the inputs alone.
    pub fn is_row_wise(&self) -> bool {
        matches!(
            self,
            Op::Linear { table: None, .. }
                | Op::LayerNorm { .. }
                | Op::RmsNorm { .. }
                | Op::UnitHeads(_)
                | Op::Affine { .. }
                | Op::Activation(_)
                | Op::Add
                | Op::Multiply
                | Op::Subtract
                | Op::AddRow { .. }
        )
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub op: Op,
    pub inputs: Vec<Id>,
    pub shape: Shape,
    /// Module, for messages.
    pub scope: String,
}

/// A tower in the engine's form.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Program {
    pub nodes: Vec<Node>,
    pub output: Id,
    /// Values that the caller wants beside the output, by name.
    pub kept: Vec<(String, Id)>,
    /// Where texts are cut.
    pub cut: Option<Cut>,
}

impl Program {
    /// Appends a node.
    pub fn push(&mut self, op: Op, inputs: Vec<Id>, shape: Shape, scope: &str) -> Id {
        self.nodes.push(Node { op, inputs, shape, scope: scope.to_owned() });
        self.nodes.len() - 1
    }

    /// How often each value is used; the output and kept values are used once more.
    pub fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.nodes.len()];
        for node in &self.nodes {
            node.inputs.iter().for_each(|&input| uses[input] += 1);
        }
        uses[self.output] += 1;
        self.kept.iter().for_each(|(_, id)| uses[*id] += 1);
        uses
    }

    /// Makes every user of `from` use `to`; nothing uses `from` any more, and it uses nothing.
    ///
    /// Where `from` is a map and `to` the same rows in a line, `to` becomes that map.
    pub fn replace(&mut self, from: Id, to: Id) {
        self.nodes[from].inputs.clear();
        let Shape { rows, map, .. } = self.nodes[from].shape;
        let shape = &mut self.nodes[to].shape;
        if shape.map.is_none() && shape.rows == rows {
            shape.map = map;
        }
        for node in &mut self.nodes {
            node.inputs.iter_mut().filter(|i| **i == from).for_each(|i| *i = to);
        }
        for target in self.kept.iter_mut().map(|(_, id)| id).chain([&mut self.output]) {
            if *target == from {
                *target = to;
            }
        }
    }

    /// Drops what nothing uses and puts the rest in an order in which it can be computed.
    pub fn tidy(&mut self) {
        let mut order: Vec<Id> = Vec::with_capacity(self.nodes.len());
        let mut seen = vec![false; self.nodes.len()];
        let roots = self.kept.iter().map(|(_, id)| *id).chain([self.output]);
        for root in roots {
            let mut stack = vec![(root, 0)];
            while let Some((id, next)) = stack.pop() {
                if next == 0 && std::mem::replace(&mut seen[id], true) {
                    continue;
                }
                match self.nodes[id].inputs.get(next) {
                    Some(&input) => stack.extend([(id, next + 1), (input, 0)]),
                    None => order.push(id),
                }
            }
        }
        let mut place = vec![usize::MAX; self.nodes.len()];
        order.iter().enumerate().for_each(|(new, &old)| place[old] = new);
        let mut old: Vec<Option<Node>> = self.nodes.drain(..).map(Some).collect();
        for id in order {
            let mut node = old[id].take().expect("a value is placed once");
            node.inputs.iter_mut().for_each(|i| *i = place[*i]);
            self.nodes.push(node);
        }
        self.kept.iter_mut().for_each(|(_, id)| *id = place[*id]);
        self.output = place[self.output];
    }
}
