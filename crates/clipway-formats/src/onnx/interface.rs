//! What a model takes and gives, and which operators it uses.

use std::collections::BTreeMap;

use super::OnnxDim;
use super::tensor::dtype_of;
use super::wire::{Field, Message};
use crate::dtype::Dtype;
use crate::error::{Code, FormatError};

/// Most dimensions of an input or output.
const MOST_DIMS: usize = 64;

/// What a model says of itself beside its tensors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnnxInterface {
    /// Version of the format.
    pub ir_version: u64,
    /// The program that wrote it.
    pub producer: String,
    /// Domains of operators with their versions; ONNX's own is empty.
    pub operator_sets: Vec<(String, u64)>,
    /// What it takes, without initializers that have defaults.
    pub inputs: Vec<OnnxPort>,
    /// What it gives.
    pub outputs: Vec<OnnxPort>,
    /// How many nodes each operator has, outside of subgraphs; of another domain than ONNX's own as `domain.operator`.
    pub operators: BTreeMap<String, usize>,
}

/// An input or output of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnnxPort {
    /// Its name.
    pub name: String,
    /// Type of its elements; `None` for what is no tensor, or not said.
    pub dtype: Option<Dtype>,
    /// Lengths of its dimensions; `None` where not even their number is said.
    pub shape: Option<Vec<OnnxDim>>,
}

/// Reads a `ValueInfoProto`.
pub(super) fn read_port(mut message: Message<'_>) -> Result<OnnxPort, FormatError> {
    let mut name = None;
    let mut port = OnnxPort::default();
    while let Some(field) = message.next()? {
        match field.number {
            1 => field.set(&mut name, message.text(&field)?)?,
            2 => read_type(message.message(&field)?, &mut port)?,
            3 | 4 => {
                field.bytes()?;
            }
            _ => return Err(field.unknown("an ONNX value")),
        }
    }
    port.name = name.unwrap_or_default();
    Ok(port)
}

/// Reads a `TypeProto`; what is no tensor stays unknown.
fn read_type(mut message: Message<'_>, port: &mut OnnxPort) -> Result<(), FormatError> {
    while let Some(field) = message.next()? {
        if field.number != 1 {
            continue;
        }
        let mut tensor = message.message(&field)?;
        while let Some(field) = tensor.next()? {
            match field.number {
                1 => port.dtype = dtype_of(field.number()?, &field).ok(),
                2 => port.shape = Some(read_shape(tensor.message(&field)?, &field)?),
                _ => return Err(field.unknown("an ONNX tensor type")),
            }
        }
    }
    Ok(())
}

/// Reads a `TensorShapeProto`.
fn read_shape(mut message: Message<'_>, at: &Field) -> Result<Vec<OnnxDim>, FormatError> {
    let mut dims = Vec::new();
    while let Some(field) = message.next()? {
        if dims.len() == MOST_DIMS {
            return Err(at.error(Code::TooLarge, format!("a shape of more than {MOST_DIMS} dimensions")));
        }
        let mut dim = OnnxDim::Free(String::new());
        let mut inner = message.message(&field)?;
        while let Some(field) = inner.next()? {
            match field.number {
                1 => dim = length(field.number()?, &field)?,
                2 => dim = OnnxDim::Free(inner.text(&field)?),
                3 => {
                    field.bytes()?;
                }
                _ => return Err(field.unknown("an ONNX dimension")),
            }
        }
        dims.push(dim);
    }
    Ok(dims)
}

/// A length; exporters write negative ones, and 0, for what the caller chooses.
fn length(value: u64, at: &Field) -> Result<OnnxDim, FormatError> {
    /// Longest dimension that anything could be run with.
    const MOST: i64 = 1 << 40;
    match value as i64 {
        ..=0 => Ok(OnnxDim::Free(String::new())),
        length @ 1..=MOST => Ok(OnnxDim::Fixed(length as usize)),
        length => Err(at.error(Code::TooLarge, format!("a dimension of {length}"))),
    }
}
