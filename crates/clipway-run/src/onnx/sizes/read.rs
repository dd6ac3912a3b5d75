//! The nodes of a model, with what their sizes depend on.

use super::size::{MOST_INTEGERS, OnnxLengths, Size};
use crate::onnx::failure::OnnxError;
use crate::onnx::widen::{Value, each};

/// A graph: its nodes in an order in which they can run.
pub(super) struct Graph<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    /// Inputs of the graph, and stored tensors.
    pub(super) given: Vec<(&'a [u8], Size)>,
    pub(super) outputs: Vec<&'a [u8]>,
}

/// A node. Names of values that are left out are empty.
#[derive(Default)]
pub(super) struct Node<'a> {
    pub(super) operator: &'a [u8],
    pub(super) inputs: Vec<&'a [u8]>,
    pub(super) outputs: Vec<&'a [u8]>,
    attributes: Vec<Attribute<'a>>,
    name: &'a [u8],
}

#[derive(Default)]
struct Attribute<'a> {
    name: &'a [u8],
    integer: Option<i64>,
    integers: Vec<i64>,
    text: &'a [u8],
    tensor: Option<Size>,
}

impl Node<'_> {
    /// Its own name, or that of its first output.
    pub(super) fn name(&self) -> &[u8] {
        match self.name {
            [] => self.outputs.first().copied().unwrap_or_default(),
            name => name,
        }
    }

    pub(super) fn shown(&self) -> String {
        shown(self.name())
    }

    fn attribute(&self, name: &str) -> Option<&Attribute<'_>> {
        self.attributes.iter().find(|attribute| attribute.name == name.as_bytes())
    }

    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        self.attribute(name)?.integer
    }

    pub(super) fn integers(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|attribute| attribute.integers.as_slice())
    }

    pub(super) fn text(&self, name: &str) -> Option<&[u8]> {
        self.attribute(name).map(|attribute| attribute.text)
    }

    pub(super) fn tensor(&self, name: &str) -> Option<&Size> {
        self.attribute(name)?.tensor.as_ref()
    }
}

/// A name of a value, for people.
pub(super) fn shown(name: &[u8]) -> String {
    clipway_formats::shown(&String::from_utf8_lossy(name)).to_string()
}

/// Reads a model. Its structure was checked before.
pub(super) fn read(model: &[u8], lengths: OnnxLengths) -> Result<Graph<'_>, OnnxError> {
    let mut graph = Graph { nodes: Vec::new(), given: Vec::new(), outputs: Vec::new() };
    each(model, |number, value| match (number, value) {
        (7, Value::Bytes(message)) => each(message, |number, value| {
            match (number, value) {
                (1, Value::Bytes(message)) => graph.nodes.push(node(message)?),
                (5, Value::Bytes(message)) => graph.given.push(tensor(message)?),
                (11, Value::Bytes(message)) => {
                    let (name, dims) = port(message)?;
                    graph.given.push((name, Size::of(lengths.filled(&dims))));
                }
                (12, Value::Bytes(message)) => graph.outputs.push(port(message)?.0),
                _ => {}
            }
            Ok(())
        }),
        _ => Ok(()),
    })?;
    graph.sort();
    Ok(graph)
}

impl Graph<'_> {
    /// Sorts the nodes by what they need; a file may hold them in any order. Cycles were refused before.
    fn sort(&mut self) {
        use std::collections::{HashMap, VecDeque};
        let mut makers: HashMap<&[u8], usize> = HashMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            makers.extend(node.outputs.iter().map(|name| (*name, index)));
        }
        let mut after = vec![Vec::new(); self.nodes.len()];
        let mut waits = vec![0usize; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            for maker in
                node.inputs.iter().filter(|name| !name.is_empty()).filter_map(|name| makers.get(name))
            {
                after[*maker].push(index);
                waits[index] += 1;
            }
        }
        let mut ready: VecDeque<usize> = (0..waits.len()).filter(|index| waits[*index] == 0).collect();
        let mut order = Vec::with_capacity(waits.len());
        while let Some(index) = ready.pop_front() {
            order.push(index);
            for next in &after[index] {
                waits[*next] -= 1;
                if waits[*next] == 0 {
                    ready.push_back(*next);
                }
            }
        }
        let mut nodes: Vec<Option<Node<'_>>> =
            std::mem::take(&mut self.nodes).into_iter().map(Some).collect();
        self.nodes = order.into_iter().filter_map(|index| nodes[index].take()).collect();
    }
}

impl OnnxLengths {
    /// The dimensions of an input for one sample; the free ones are the lengths of pixels, or of tokens.
    fn filled(self, dims: &[Option<u64>]) -> Vec<u64> {
        let [height, width] = self.image.map(|length| length as u64);
        let is_planar = matches!(dims, [_, Some(1 | 3), _, _]) || !matches!(dims, [_, _, _, Some(1 | 3)]);
        let usual: &[u64] = match dims.len() {
            4 if is_planar => &[1, 3, height, width],
            4 => &[1, height, width, 3],
            2 => &[1, self.context as u64],
            _ => &[],
        };
        let length =
            |(index, dim): (usize, &Option<u64>)| dim.unwrap_or(usual.get(index).copied().unwrap_or(1));
        dims.iter().enumerate().map(length).collect()
    }
}

fn node(message: &[u8]) -> Result<Node<'_>, OnnxError> {
    let mut node = Node::default();
    each(message, |number, value| {
        match (number, value) {
            (1, Value::Bytes(name)) => node.inputs.push(name),
            (2, Value::Bytes(name)) => node.outputs.push(name),
            (3, Value::Bytes(name)) => node.name = name,
            (4, Value::Bytes(operator)) => node.operator = operator,
            (5, Value::Bytes(message)) => node.attributes.push(attribute(message)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(node)
}

fn attribute(message: &[u8]) -> Result<Attribute<'_>, OnnxError> {
    let mut found = Attribute::default();
    each(message, |number, value| {
        match (number, value) {
            (1, Value::Bytes(name)) => found.name = name,
            (3, Value::Number(number)) => found.integer = Some(number as i64),
            (4, Value::Bytes(text)) => found.text = text,
            (5, Value::Bytes(message)) => found.tensor = Some(tensor(message)?.1),
            (8, value) => numbers(value, &mut found.integers)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

/// Appends numbers that stand alone or packed.
fn numbers(value: Value<'_>, out: &mut Vec<i64>) -> Result<(), OnnxError> {
    match value {
        Value::Number(number) => out.push(number as i64),
        Value::Bytes(mut packed) => {
            while !packed.is_empty() {
                out.push(crate::onnx::widen::varint(&mut packed)? as i64);
            }
        }
        Value::Fixed(_) => {}
    }
    Ok(())
}

/// Name and dimensions of an input or output.
fn port(message: &[u8]) -> Result<(&[u8], Vec<Option<u64>>), OnnxError> {
    let (mut name, mut dims) = (&[][..], Vec::new());
    each(message, |number, value| match (number, value) {
        (1, Value::Bytes(found)) => {
            name = found;
            Ok(())
        }
        // Type, tensor, shape, dimension, length.
        (2, Value::Bytes(kind)) => inner(kind, 1, &mut |tensor| {
            inner(tensor, 2, &mut |shape| {
                inner(shape, 1, &mut |dim| {
                    let mut length = None;
                    each(dim, |number, value| {
                        if let (1, Value::Number(number)) = (number, value) {
                            length = Some(number).filter(|number| *number as i64 > 0);
                        }
                        Ok(())
                    })?;
                    dims.push(length);
                    Ok(())
                })
            })
        }),
        _ => Ok(()),
    })?;
    Ok((name, dims))
}

fn inner<'a>(
    message: &'a [u8],
    field: u32,
    run: &mut dyn FnMut(&'a [u8]) -> Result<(), OnnxError>,
) -> Result<(), OnnxError> {
    each(message, |number, value| match value {
        Value::Bytes(bytes) if number == field => run(bytes),
        _ => Ok(()),
    })
}

/// Name and size of a stored tensor, with its elements if they are few and integers.
fn tensor(message: &[u8]) -> Result<(&[u8], Size), OnnxError> {
    /// Elements of `int64` and `int32`, by ONNX's numbers.
    const INTEGERS: [(u64, usize); 2] = [(7, 8), (6, 4)];
    let (mut name, mut dims, mut dtype) = (&[][..], Vec::new(), 0);
    let (mut raw, mut listed): (Option<&[u8]>, Vec<i64>) = (None, Vec::new());
    each(message, |number, value| {
        match (number, value) {
            (1, value) => numbers(value, &mut dims)?,
            (2, Value::Number(number)) => dtype = number,
            (5 | 7, value) if listed.len() <= MOST_INTEGERS => numbers(value, &mut listed)?,
            (8, Value::Bytes(found)) => name = found,
            (9, Value::Bytes(found)) => raw = Some(found),
            _ => {}
        }
        Ok(())
    })?;
    let size = Size::of(dims.iter().map(|length| (*length).max(0) as u64).collect());
    let width = INTEGERS.iter().find(|(number, _)| *number == dtype).map(|(_, width)| *width);
    let integers = match (width, raw) {
        (Some(width), Some(raw)) if raw.len() <= MOST_INTEGERS * width => {
            let element = |bytes: &[u8]| match bytes {
                [a, b, c, d] => i64::from(i32::from_le_bytes([*a, *b, *c, *d])),
                bytes => bytes.try_into().map_or(0, i64::from_le_bytes),
            };
            Some(raw.chunks_exact(width).map(element).collect())
        }
        (Some(_), None) => Some(listed),
        _ => None,
    };
    Ok((name, Size { is_constant: true, ..size.with(integers) }))
}
