//! The state of a lowering, and what all operations need.

use std::collections::HashMap;

use clipway_formats::{Dtype, OnnxDim};

use super::emit::{Emitter, Value};
use super::fuse::{Fused, fuse};
use super::lengths::needs_context;
use super::narrow::Narrow;
use super::options::{OnnxOptions, OnnxPrecision};
use super::recipe::Recipe;
use crate::graph::{AttentionBias, Dim, Graph, Node, Operation, ParameterId, Parameters, ValueId};

/// A tower being lowered to ONNX operators.
pub(super) struct Lowering<'a> {
    pub emit: Emitter,
    pub parameters: &'a Parameters,
    pub options: &'a OnnxOptions,
    /// Dtype of arithmetic.
    pub float: Dtype,
    /// Dtype of weights.
    stored: Dtype,
    /// Text length, if fixed.
    length: Option<usize>,
    /// Maximum text length.
    pub most: usize,
    /// The graph's input.
    pub root: Option<Value>,
    /// Values shared by several operations, by content.
    shared: HashMap<String, Value>,
    pub tower: &'a Graph,
    /// What each value of the tower became so far.
    pub values: Vec<Value>,
    pub fused: Vec<Fused>,
    pub narrow: Narrow,
    /// Queries that were computed apart from their keys and values, by the node of these.
    pub queries: HashMap<usize, Value>,
    /// Results of blocks, by name.
    pub blocks: Vec<(String, ValueId)>,
}

impl<'a> Lowering<'a> {
    pub fn new(
        parameters: &'a Parameters,
        tower: &'a Graph,
        options: &'a OnnxOptions,
        context: usize,
    ) -> Lowering<'a> {
        let blocks = if options.blocks { tower.numbered_modules() } else { Vec::new() };
        let kept: Vec<ValueId> = blocks.iter().map(|(_, value)| *value).chain([tower.output]).collect();
        let (float, stored) = match options.precision {
            OnnxPrecision::F32 => (Dtype::F32, Dtype::F32),
            // T5 was trained in bf16: its residual stream exceeds the range of f16.
            OnnxPrecision::F16 if has_buckets(tower) => (Dtype::F32, Dtype::F16),
            OnnxPrecision::F16 => (Dtype::F16, Dtype::F16),
        };
        let fused = fuse(tower, &kept);
        Lowering {
            emit: Emitter::default(),
            parameters,
            options,
            float,
            stored,
            length: (!options.free_length || needs_context(tower)).then_some(context),
            most: context,
            root: None,
            shared: HashMap::new(),
            tower,
            values: Vec::new(),
            narrow: Narrow::of(tower, &kept, &fused),
            queries: HashMap::new(),
            fused,
            blocks,
        }
    }

    /// A parameter unchanged except for its shape.
    pub fn parameter(&mut self, id: ParameterId, shape: &[usize]) -> Value {
        self.weight(&self.name(id, ""), shape, Recipe::Parameter(id))
    }

    /// A tensor made from weights, cast for arithmetic.
    pub fn weight(&mut self, name: &str, shape: &[usize], recipe: Recipe) -> Value {
        let stored = self.emit.tensor(name, self.stored, shape, recipe);
        self.emit.cast(&stored, self.float)
    }

    /// Name of a parameter's tensor, with its modification.
    pub fn name(&self, id: ParameterId, change: &str) -> String {
        format!("{}{change}", self.parameters.get(id).name)
    }

    /// A value shared by several operations, made once.
    pub fn shared(&mut self, key: String, make: impl FnOnce(&mut Self) -> Value) -> Value {
        if let Some(value) = self.shared.get(&key) {
            return value.clone();
        }
        let value = make(self);
        self.shared.insert(key, value.clone());
        value
    }

    /// Whether the tower reads images.
    pub fn reads_pixels(&self) -> bool {
        self.tower.nodes.iter().any(|node| matches!(node.operation, Operation::Pixels))
    }

    /// Number of tokens of a dimension, if known.
    pub fn count(&self, dim: Dim) -> Option<usize> {
        match dim {
            Dim::Fixed(tokens) => Some(tokens),
            Dim::Length(extra) => self.length.map(|length| length + extra),
            Dim::Batch => None,
        }
    }

    /// A dimension of an input or output.
    pub fn dim(&self, dim: Dim) -> OnnxDim {
        match (dim, self.count(dim)) {
            (Dim::Batch, _) => self.options.samples(),
            (_, Some(length)) => OnnxDim::Fixed(length),
            (dim, None) => OnnxDim::Free(dim.to_string()),
        }
    }
}

/// Length of a value's last dimension.
pub(super) fn fixed(node: &Node) -> usize {
    match node.shape.last() {
        Some(Dim::Fixed(length)) => *length,
        _ => unreachable!("the last dimension of {} is fixed", node.operation.label()),
    }
}

fn has_buckets(tower: &Graph) -> bool {
    let is = |node: &Node| {
        matches!(node.operation, Operation::Attention { bias: Some(AttentionBias::Buckets { .. }), .. })
    };
    tower.nodes.iter().any(is)
}
