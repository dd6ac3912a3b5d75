//! An ONNX graph whose tensors are made one by one.

use std::collections::BTreeSet;

use clipway_formats::{FormatError, OnnxExternal, OnnxGraph, OnnxLayout};

use super::emit::Emitter;
use super::recipe::{MakeError, ParameterValues, Recipe, make};
use crate::graph::Parameters;

/// IR version of the files: the newest that runtimes for operator set 17 read.
const IR_VERSION: u64 = 8;

/// ONNX operator set: the first with layer norms.
const OPERATOR_SET: u64 = 17;

/// An ONNX graph, and how its initializers are made from a model's weights.
#[derive(Clone, Debug, PartialEq)]
pub struct OnnxTower {
    /// The graph.
    pub graph: OnnxGraph,
    recipes: Vec<Recipe>,
}

impl OnnxTower {
    /// The emitted nodes, as the graph with this name.
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
    /// The errors of [`OnnxLayout::new`].
    pub fn layout(&self, external: OnnxExternal<'_>) -> Result<OnnxLayout, FormatError> {
        OnnxLayout::new(&self.graph, external)
    }

    /// Makes initializer `index`, as little-endian bytes.
    ///
    /// # Errors
    /// A weight that cannot be read, or values that its dtype cannot represent.
    pub fn make(
        &self,
        index: usize,
        parameters: &Parameters,
        values: &dyn ParameterValues,
    ) -> Result<Vec<u8>, MakeError> {
        let mut bytes = Vec::new();
        self.stream(index, parameters, values, &mut |piece| bytes.extend_from_slice(piece))?;
        Ok(bytes)
    }

    /// Makes initializer `index` and hands it to `sink` in pieces of whole elements. What the file holds of a parameter as it
    /// is, is never in memory as a whole.
    ///
    /// # Errors
    /// As [`OnnxTower::make`]; some pieces may have been handed over.
    pub fn stream(
        &self,
        index: usize,
        parameters: &Parameters,
        values: &dyn ParameterValues,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), MakeError> {
        make(&self.graph.initializers[index], &self.recipes[index], parameters, values, sink)
    }

    /// The operators it uses.
    pub fn operators(&self) -> BTreeSet<&'static str> {
        self.graph.nodes.iter().map(|node| node.operator).collect()
    }
}
