//! A graph of ONNX whose tensors are made one by one.

use std::collections::BTreeSet;

use clipway_formats::{FormatError, OnnxExternal, OnnxGraph, OnnxLayout};

use super::emit::Emitter;
use super::recipe::{MakeError, ParameterValues, Recipe, make};
use crate::graph::Parameters;

/// IR version of the files: the newest that runtimes of operator set 17 read.
const IR_VERSION: u64 = 8;

/// Version of ONNX's operators: the first with layer norms.
const OPERATOR_SET: u64 = 17;

/// A graph of ONNX, and how its initializers are made of a model's weights.
#[derive(Clone, Debug, PartialEq)]
pub struct OnnxTower {
    /// The graph.
    pub graph: OnnxGraph,
    recipes: Vec<Recipe>,
}

impl OnnxTower {
    /// What was emitted, as the graph of this name.
    pub(super) fn of(emit: Emitter, name: &str) -> OnnxTower {
        let mut graph = emit.graph;
        name.clone_into(&mut graph.name);
        graph.producer = "clipway".to_owned();
        graph.producer_version = env!("CARGO_PKG_VERSION").to_owned();
        graph.ir_version = IR_VERSION;
        graph.operator_set = OPERATOR_SET;
        OnnxTower { graph, recipes: emit.recipes }
    }

    /// Lays out its files.
    ///
    /// # Errors
    /// As [`OnnxLayout::new`].
    pub fn layout(&self, external: OnnxExternal<'_>) -> Result<OnnxLayout, FormatError> {
        OnnxLayout::new(&self.graph, external)
    }

    /// Makes initializer `index`, as little-endian bytes.
    ///
    /// # Errors
    /// A weight that cannot be read, or values that f16 cannot hold.
    pub fn make(
        &self,
        index: usize,
        parameters: &Parameters,
        values: &dyn ParameterValues,
    ) -> Result<Vec<u8>, MakeError> {
        make(&self.graph.initializers[index], &self.recipes[index], parameters, values)
    }

    /// The operators that it uses.
    pub fn operators(&self) -> BTreeSet<&'static str> {
        self.graph.nodes.iter().map(|node| node.operator).collect()
    }
}
