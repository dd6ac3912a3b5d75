//! Cost of a tower for one sample, estimated before anything is computed.

use super::{Dim, Graph, Node, Operation, Parameters};

/// Memory and work of one sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes of the values that are alive at the same time, in f32. The input counts three times: as read, as used, and
    /// as kept for comparison.
    pub bytes: u64,
    /// Multiplications.
    pub multiplications: u64,
}

/// Number of copies of the input during a run.
const INPUTS: u64 = 3;

impl Graph {
    /// The cost of one sample; texts have `length` tokens. An upper bound: values that an engine computes in place
    /// count twice.
    pub fn cost(&self, parameters: &Parameters, length: usize) -> Cost {
        let mut last: Vec<usize> = (0..self.nodes.len()).collect();
        for (index, node) in self.nodes.iter().enumerate() {
            node.inputs.iter().for_each(|input| last[input.index()] = index);
        }
        let mut dying: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        last.iter().enumerate().for_each(|(value, &at)| dying[at].push(value));
        let (mut alive, mut most, mut kept) = (0_u64, 0_u64, 0_u64);
        let mut multiplications = 0_u64;
        for (index, node) in self.nodes.iter().enumerate() {
            let is_input = matches!(node.operation, Operation::Pixels | Operation::TokenIds { .. });
            let copies = if is_input { INPUTS } else { 1 };
            alive = alive.saturating_add(values(node, length).saturating_mul(copies));
            kept = kept.saturating_add(biases(self, node, length));
            most = most.max(alive);
            for &value in &dying[index] {
                let copies = if value == 0 { INPUTS } else { 1 };
                alive = alive.saturating_sub(values(&self.nodes[value], length).saturating_mul(copies));
            }
            multiplications =
                multiplications.saturating_add(multiplications_of(self, node, parameters, length));
        }
        Cost { bytes: most.saturating_add(kept).saturating_mul(4), multiplications }
    }
}

fn dim(dim: Dim, length: usize) -> u64 {
    match dim {
        Dim::Batch => 1,
        Dim::Length(extra) => (length + extra) as u64,
        Dim::Fixed(length) => length as u64,
    }
}

/// Number of values in a node's output.
fn values(node: &Node, length: usize) -> u64 {
    node.shape.iter().fold(1, |product, &one| product.saturating_mul(dim(one, length)))
}

/// Number of tokens in a sequence `[batch, tokens, width]`.
fn tokens(node: &Node, length: usize) -> u64 {
    node.shape.get(1).map_or(1, |&tokens| dim(tokens, length))
}

/// Number of tokens that a node's queries attend to.
fn keys(graph: &Graph, node: &Node, length: usize) -> u64 {
    let from = node.inputs.get(1).filter(|_| node.inputs.len() >= 3).or(node.inputs.first());
    from.map_or(1, |&value| tokens(graph.node(value), length))
}

/// Number of values of the position biases, which are computed once per pair of tokens.
fn biases(graph: &Graph, node: &Node, length: usize) -> u64 {
    match node.operation {
        Operation::Attention { heads, bias: Some(_), .. } => {
            (heads as u64).saturating_mul(tokens(node, length)).saturating_mul(keys(graph, node, length))
        }
        _ => 0,
    }
}

fn multiplications_of(graph: &Graph, node: &Node, parameters: &Parameters, length: usize) -> u64 {
    let out = values(node, length);
    match node.operation {
        Operation::Linear { .. } => {
            let input = node.inputs.first().and_then(|&value| graph.node(value).shape.last());
            out.saturating_mul(input.map_or(1, |&width| dim(width, length)))
        }
        Operation::Conv2d { weight, .. } => {
            let filter = parameters.get(weight).shape.iter().skip(1);
            filter.fold(out, |product, &size| product.saturating_mul(size as u64))
        }
        Operation::Attention { .. } => out.saturating_mul(2).saturating_mul(keys(graph, node, length)),
        Operation::WindowAttention { windows, .. } => {
            let [height, width] = windows.window;
            out.saturating_mul(2).saturating_mul((height * width) as u64)
        }
        _ => out,
    }
}
