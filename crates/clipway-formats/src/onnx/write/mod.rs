//! Writing ONNX: a graph described in memory, and the positions of its tensors' bytes.
//!
//! [`OnnxGraph`] names nodes, inputs, outputs and initializers, but holds no elements. [`OnnxLayout`] lays out its
//! files: every byte except the tensors', and the position of each tensor. Tensors are then written one by one, in any
//! order. The same graph gives the same bytes.

mod encode;
mod layout;

pub use layout::{OnnxExternal, OnnxLayout, OnnxPlace, write_onnx};

use crate::dtype::Dtype;
use crate::tensor::TensorInfo;

/// A model to write: a graph, its initializers without their elements, and its metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OnnxGraph {
    /// Name of the graph.
    pub name: String,
    /// Description for people.
    pub description: String,
    /// Name of the program that writes it.
    pub producer: String,
    /// Version of that program.
    pub producer_version: String,
    /// IR version of the file.
    pub ir_version: u64,
    /// Version of ONNX's own operators.
    pub operator_set: u64,
    /// Input values.
    pub inputs: Vec<OnnxValue>,
    /// Output values.
    pub outputs: Vec<OnnxValue>,
    /// The operations, each after those it depends on.
    pub nodes: Vec<OnnxNode>,
    /// The constant tensors.
    pub initializers: Vec<TensorInfo>,
    /// Pairs of metadata.
    pub metadata: Vec<(String, String)>,
}

/// An input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnnxValue {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<OnnxDim>,
}

/// Length of a dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnnxDim {
    /// A number.
    Fixed(usize),
    /// Chosen by the caller; dimensions with the same name have the same length.
    Free(String),
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct OnnxNode {
    /// Its name, unique in the graph.
    pub name: String,
    /// A standard ONNX operator.
    pub operator: &'static str,
    /// Names of its inputs.
    pub inputs: Vec<String>,
    /// Names of its outputs.
    pub outputs: Vec<String>,
    /// Its settings.
    pub attributes: Vec<(&'static str, OnnxAttribute)>,
}

/// A setting of an operation.
#[derive(Clone, Debug, PartialEq)]
pub enum OnnxAttribute {
    /// An integer.
    Int(i64),
    /// A number.
    Float(f32),
    /// Integers.
    Ints(Vec<i64>),
}
