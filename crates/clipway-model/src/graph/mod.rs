//! A tower as a list of typed operations over named parameters.
//!
//! An architecture is a function from its config to [`Parameters`] (what a checkpoint must hold, in PyTorch's order)
//! and a [`Graph`] (what to compute). The manifest, the forward pass, exporters and explanations all derive from these
//! two; nothing restates them.

mod builder;
mod cost;
mod demand;
mod describe;
mod fold;
mod layers;
mod settings;
mod operation;
mod parameters;
mod relative;
mod rotation;
mod windows;

pub use builder::GraphError;
pub(crate) use builder::{AttentionOptions, GraphBuilder};
pub use cost::Cost;
pub use demand::Demand;
pub use describe::{DimDescription, GraphDescription, NodeDescription, TensorDescription};
pub use fold::{Fold, FoldTerm};
pub(crate) use layers::{BatchNorm, Conv2d, LayerNorm, Linear, ResponseNorm, RmsNorm};
pub use operation::Operation;
pub(crate) use parameters::Scope;
pub use parameters::{Parameter, ParameterId, Parameters, Role};
pub use relative::{GridMlp, distance_bucket, sinusoid_frequencies};
pub use rotation::{Coordinates, Pairs, Rotation};
pub use settings::{
    Activation, AttentionBias, GridChange, GridFilter, Mask, MeanWindow, Pool, Rows, TextPositions,
    WeightLayout,
};
pub use windows::{WindowTable, Windows, grid_steps, merged_patches};

use std::fmt;

/// Length of one dimension of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// Number of samples, chosen at run time.
    Batch,
    /// Number of tokens in the texts, chosen at run time, plus this many.
    Length(usize),
    /// A number known from the config.
    Fixed(usize),
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Batch => f.write_str("batch"),
            Dim::Length(0) => f.write_str("length"),
            Dim::Length(extra) => write!(f, "length+{extra}"),
            Dim::Fixed(length) => write!(f, "{length}"),
        }
    }
}

/// A value of a graph: the output of the node of the same index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) u32);

impl ValueId {
    /// Index of the node that produces the value.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One operation with its inputs and the shape of its output.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The operation.
    pub operation: Operation,
    /// Its input values, all from earlier nodes.
    pub inputs: Vec<ValueId>,
    /// Shape of the output.
    pub shape: Vec<Dim>,
    /// Module that the operation belongs to, by its name in the checkpoint, such as
    /// `visual.transformer.resblocks.0.attn`; empty for the root.
    pub scope: String,
}

/// One tower: its operations, in order of computation.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// Name of the tower: `image` or `text`.
    pub name: String,
    /// The operations.
    pub nodes: Vec<Node>,
    /// The tower's result, `[batch, embedding width]`.
    pub output: ValueId,
}

impl Graph {
    /// The node that produces `value`.
    pub fn node(&self, value: ValueId) -> &Node {
        &self.nodes[value.index()]
    }

    /// The value of the node with this index.
    pub fn value(&self, index: usize) -> ValueId {
        ValueId(index as u32)
    }

    /// The last value of each numbered module, such as `visual.transformer.resblocks.0`, in order.
    pub fn numbered_modules(&self) -> Vec<(String, ValueId)> {
        let mut found: Vec<(String, ValueId)> = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let value = ValueId(index as u32);
            let mut end = 0;
            for part in node.scope.split('.') {
                end += part.len();
                let numbered = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
                if numbered {
                    let name = &node.scope[..end];
                    match found.iter_mut().find(|(n, _)| n == name) {
                        Some((_, last)) => *last = value,
                        None => found.push((name.to_owned(), value)),
                    }
                }
                end += 1;
            }
        }
        found.sort_by_key(|(_, value)| *value);
        found
    }
}
