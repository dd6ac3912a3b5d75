//! Messages of `onnx.proto` in the protobuf wire format, with fields in numerical order.

use super::{OnnxAttribute, OnnxDim, OnnxGraph, OnnxNode, OnnxValue};
use crate::dtype::Dtype;
use crate::tensor::TensorInfo;

/// `TensorProto.DataLocation` of elements in another file.
const EXTERNAL: u64 = 1;

/// A message under construction.
#[derive(Default)]
pub(super) struct Encoder {
    pub(super) bytes: Vec<u8>,
}

impl Encoder {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// A number field.
    pub(super) fn number(&mut self, field: u32, value: u64) {
        self.varint(u64::from(field) << 3);
        self.varint(value);
    }

    /// A 32-bit number field.
    fn float(&mut self, field: u32, value: f32) {
        self.varint(u64::from(field) << 3 | 5);
        self.bytes.extend(value.to_le_bytes());
    }

    /// The start of a field with this many bytes.
    pub(super) fn open(&mut self, field: u32, length: u64) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(length);
    }

    /// A bytes field.
    pub(super) fn content(&mut self, field: u32, bytes: &[u8]) {
        self.open(field, bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    /// A text field.
    pub(super) fn text(&mut self, field: u32, text: &str) {
        self.content(field, text.as_bytes());
    }

    /// A message field.
    pub(super) fn message(&mut self, field: u32, fill: impl FnOnce(&mut Encoder)) {
        let mut inner = Encoder::default();
        fill(&mut inner);
        self.content(field, &inner.bytes);
    }

    /// A `StringStringEntryProto`.
    pub(super) fn pair(&mut self, field: u32, key: &str, value: &str) {
        self.message(field, |pair| {
            pair.text(1, key);
            pair.text(2, value);
        });
    }
}

/// The fields of a `ModelProto` before its graph.
pub(super) fn model_start(graph: &OnnxGraph) -> Encoder {
    let mut out = Encoder::default();
    out.number(1, graph.ir_version);
    out.text(2, &graph.producer);
    out.text(3, &graph.producer_version);
    if !graph.description.is_empty() {
        out.text(6, &graph.description);
    }
    out
}

/// The fields of a `ModelProto` after its graph.
pub(super) fn model_end(graph: &OnnxGraph) -> Encoder {
    let mut out = Encoder::default();
    out.message(8, |set| set.number(2, graph.operator_set));
    for (key, value) in &graph.metadata {
        out.pair(14, key, value);
    }
    out
}

/// The fields of a `GraphProto` before its initializers.
pub(super) fn graph_start(graph: &OnnxGraph) -> Encoder {
    let mut out = Encoder::default();
    for node in &graph.nodes {
        out.message(1, |out| encode_node(node, out));
    }
    out.text(2, &graph.name);
    out
}

/// The fields of a `GraphProto` after its initializers.
pub(super) fn graph_end(graph: &OnnxGraph) -> Encoder {
    let mut out = Encoder::default();
    for (field, values) in [(11, &graph.inputs), (12, &graph.outputs)] {
        for value in values {
            out.message(field, |out| encode_value(value, out));
        }
    }
    out
}

/// A `TensorProto` up to the bytes of its elements, which come last: at an offset in another file, or here.
pub(super) fn tensor_start(info: &TensorInfo, external: Option<(&str, u64)>) -> Encoder {
    let mut out = Encoder::default();
    for &length in &info.shape {
        out.number(1, length as u64);
    }
    out.number(2, type_of(info.dtype));
    out.text(8, &info.name);
    match external {
        None => out.open(9, info.bytes() as u64),
        Some((location, offset)) => {
            out.pair(13, "location", location);
            out.pair(13, "offset", &offset.to_string());
            out.pair(13, "length", &info.bytes().to_string());
            out.number(14, EXTERNAL);
        }
    }
    out
}

fn encode_node(node: &OnnxNode, out: &mut Encoder) {
    node.inputs.iter().for_each(|input| out.text(1, input));
    node.outputs.iter().for_each(|output| out.text(2, output));
    out.text(3, &node.name);
    out.text(4, node.operator);
    for (name, attribute) in &node.attributes {
        out.message(5, |out| {
            out.text(1, name);
            match attribute {
                OnnxAttribute::Float(value) => {
                    out.float(2, *value);
                    out.number(20, 1);
                }
                OnnxAttribute::Int(value) => {
                    out.number(3, *value as u64);
                    out.number(20, 2);
                }
                OnnxAttribute::Ints(values) => {
                    values.iter().for_each(|value| out.number(8, *value as u64));
                    out.number(20, 7);
                }
            }
        });
    }
}

/// A `ValueInfoProto` of a tensor.
fn encode_value(value: &OnnxValue, out: &mut Encoder) {
    out.text(1, &value.name);
    out.message(2, |kind| {
        kind.message(1, |tensor| {
            tensor.number(1, type_of(value.dtype));
            tensor.message(2, |shape| {
                for dim in &value.shape {
                    shape.message(1, |out| match dim {
                        OnnxDim::Fixed(length) => out.number(1, *length as u64),
                        OnnxDim::Free(name) => out.text(2, name),
                    });
                }
            });
        });
    });
}

/// The `TensorProto.DataType` of a dtype.
fn type_of(dtype: Dtype) -> u64 {
    match dtype {
        Dtype::F32 => 1,
        Dtype::U8 => 2,
        Dtype::I8 => 3,
        Dtype::U16 => 4,
        Dtype::I16 => 5,
        Dtype::I32 => 6,
        Dtype::I64 => 7,
        Dtype::Bool => 9,
        Dtype::F16 => 10,
        Dtype::F64 => 11,
        Dtype::U32 => 12,
        Dtype::U64 => 13,
        Dtype::BF16 => 16,
        Dtype::F8E4M3 => 17,
        Dtype::F8E5M2 => 19,
    }
}

#[cfg(test)]
mod tests {
    use super::Encoder;

    /// The bytes match those written by Google's protobuf 6.33.
    #[test]
    fn numbers_and_texts_are_those_of_the_wire_format() {
        let check = |fill: &dyn Fn(&mut Encoder), expected: &[u8]| {
            let mut out = Encoder::default();
            fill(&mut out);
            assert_eq!(out.bytes, expected);
        };
        check(&|out| out.number(1, 8), &[0x08, 8]);
        check(&|out| out.number(20, 300), &[0xa0, 1, 0xac, 2]);
        check(&|out| out.number(3, -1_i64 as u64), &[0x18, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
        check(&|out| out.text(4, "Add"), &[0x22, 3, b'A', b'd', b'd']);
        check(&|out| out.float(2, 1.0), &[0x15, 0, 0, 0x80, 0x3f]);
        check(&|out| out.pair(14, "k", "v"), &[0x72, 6, 0x0a, 1, b'k', 0x12, 1, b'v']);
    }
}
