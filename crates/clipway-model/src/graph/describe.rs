//! A graph for people and programs: each operation with its inputs, tensors and shape.

use std::fmt;

use serde::Serialize;

use super::{Dim, Graph, Node, Parameters, ValueId};

/// A tower's operations, in order of computation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GraphDescription {
    /// Name of the tower.
    pub name: String,
    /// The operations; value `n` is the result of operation `n`.
    pub nodes: Vec<NodeDescription>,
    /// The value that is the embedding.
    pub output: usize,
    /// Number of elements in the tensors that the tower reads.
    pub elements: usize,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeDescription {
    /// Name and settings.
    pub operation: String,
    /// The input values.
    pub inputs: Vec<usize>,
    /// Lengths of the result's dimensions: numbers, or words if chosen at run time.
    pub shape: Vec<DimDescription>,
    /// The tensors it reads.
    pub tensors: Vec<TensorDescription>,
    /// Module it belongs to.
    pub scope: String,
}

/// A length: known, or chosen at run time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum DimDescription {
    /// A number.
    Fixed(usize),
    /// `batch`, or `length` plus a number.
    Free(String),
}

/// A tensor that an operation reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TensorDescription {
    /// Name in the state dict.
    pub name: String,
    /// Lengths of the dimensions.
    pub shape: Vec<usize>,
}

impl Graph {
    /// Describes every operation.
    pub fn describe(&self, parameters: &Parameters) -> GraphDescription {
        let mut read: Vec<_> = self.nodes.iter().flat_map(|node| node.operation.parameters()).collect();
        read.sort();
        read.dedup();
        GraphDescription {
            name: self.name.clone(),
            nodes: self.nodes.iter().map(|node| NodeDescription::of(node, parameters)).collect(),
            output: self.output.index(),
            elements: read.into_iter().map(|id| parameters.get(id).elements()).sum(),
        }
    }
}

impl NodeDescription {
    fn of(node: &Node, parameters: &Parameters) -> NodeDescription {
        let tensor = |id| {
            let parameter = parameters.get(id);
            TensorDescription { name: parameter.name.clone(), shape: parameter.shape.clone() }
        };
        let dim = |dim: &Dim| match dim {
            Dim::Fixed(length) => DimDescription::Fixed(*length),
            free => DimDescription::Free(free.to_string()),
        };
        NodeDescription {
            operation: node.operation.label(),
            inputs: node.inputs.iter().copied().map(ValueId::index).collect(),
            shape: node.shape.iter().map(dim).collect(),
            tensors: node.operation.parameters().into_iter().map(tensor).collect(),
            scope: node.scope.clone(),
        }
    }
}

impl fmt::Display for DimDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DimDescription::Fixed(length) => write!(f, "{length}"),
            DimDescription::Free(word) => f.write_str(word),
        }
    }
}

/// One line for the tower, then one per operation: its number, operation and inputs, output shape, and the tensors it
/// reads or its module.
impl fmt::Display for GraphDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GraphDescription { name, nodes, output, elements } = self;
        writeln!(
            f,
            "{name} tower: {} operations, {elements} values in tensors, output %{output}",
            nodes.len()
        )?;
        for (index, node) in nodes.iter().enumerate() {
            let inputs: Vec<String> = node.inputs.iter().map(|input| format!("%{input}")).collect();
            let shape: Vec<String> = node.shape.iter().map(ToString::to_string).collect();
            let (inputs, shape) = (inputs.join(", "), shape.join(", "));
            write!(f, "%{index} = {}({inputs}) -> [{shape}]", node.operation)?;
            if node.tensors.is_empty() {
                writeln!(f, "  {}", node.scope)?;
                continue;
            }
            for TensorDescription { name, shape } in &node.tensors {
                write!(f, "  {name} {shape:?}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
