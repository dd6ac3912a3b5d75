//! The largest activations of graphs in f16. The runtime computes them in f32, so a value beyond f16 would go unseen.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use super::failure::OnnxError;
use super::widen::{FLOAT16, Value, dtype_of, each};

/// Largest finite f16.
pub(super) const LIMIT: f32 = 65504.0;

/// Peaks above this deserve a note: half of the largest f16, since other inputs may give more.
pub(super) const NEAR: f32 = LIMIT / 2.0;

/// Operators whose outputs are not of their inputs' dtype; `Cast` says its own.
const OF_ANOTHER_DTYPE: [&[u8]; 14] = [
    b"And",
    b"ArgMax",
    b"ArgMin",
    b"Equal",
    b"Greater",
    b"GreaterOrEqual",
    b"IsInf",
    b"IsNaN",
    b"Less",
    b"LessOrEqual",
    b"NonZero",
    b"Not",
    b"Shape",
    b"Size",
];

/// A value that a graph computes in f16.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HalfValue {
    /// Its name.
    pub name: String,
    /// The node that computes it.
    pub node: String,
    /// The inputs of the graph that it depends on.
    pub needs: BTreeSet<String>,
}

/// The largest activation in f16 of a tower, over the inputs that were run.
#[derive(Clone, Debug, PartialEq)]
pub struct Peak {
    /// The graph's file.
    pub path: PathBuf,
    /// The node that computes it.
    pub node: String,
    /// Its absolute value; infinite for a NaN.
    pub largest: f32,
}

/// The values that a model computes in f16, in the order of its nodes.
///
/// # Errors
/// Bytes that are not ONNX.
pub(super) fn half_values(model: &[u8]) -> Result<Vec<HalfValue>, OnnxError> {
    let mut known: HashSet<&[u8]> = HashSet::new();
    let mut needs: HashMap<&[u8], BTreeSet<String>> = HashMap::new();
    let mut found = Vec::new();
    in_graph(model, 11, &mut |input| {
        if let Some(name) = text(input, 1)? {
            needs.insert(name, BTreeSet::from([String::from_utf8_lossy(name).into_owned()]));
        }
        Ok(())
    })?;
    // Initializers stand behind the nodes that use them.
    in_graph(model, 5, &mut |tensor| {
        let name = text(tensor, 8)?.unwrap_or_default();
        // Old files list constants among the inputs.
        needs.remove(name);
        if tensor_is_half(tensor)? {
            known.insert(name);
        }
        Ok(())
    })?;
    in_graph(model, 1, &mut |node| {
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        let mut own_dtype = None;
        each(node, |number, value| {
            match (number, value) {
                (1, Value::Bytes(name)) => inputs.push(name),
                (2, Value::Bytes(name)) => outputs.push(name),
                (5, Value::Bytes(attribute)) => each(attribute, |number, value| {
                    match (number, value) {
                        (3, Value::Number(dtype)) => own_dtype = Some(dtype == FLOAT16),
                        (5, Value::Bytes(tensor)) => own_dtype = Some(tensor_is_half(tensor)?),
                        _ => {}
                    }
                    Ok(())
                })?,
                _ => {}
            }
            Ok(())
        })?;
        let operator = text(node, 4)?.unwrap_or_default();
        let of_inputs: BTreeSet<String> =
            inputs.iter().filter_map(|name| needs.get(name)).flatten().cloned().collect();
        for name in &outputs {
            needs.insert(name, of_inputs.clone());
        }
        let is_half = match operator {
            b"Cast" | b"Constant" | b"ConstantOfShape" => own_dtype == Some(true),
            other if OF_ANOTHER_DTYPE.contains(&other) => false,
            _ => inputs.iter().any(|name| known.contains(name)),
        };
        if is_half {
            let node = String::from_utf8_lossy(text(node, 3)?.unwrap_or_default()).into_owned();
            for name in outputs.into_iter().filter(|name| !name.is_empty()) {
                known.insert(name);
                let name = String::from_utf8_lossy(name).into_owned();
                let node = if node.is_empty() { name.clone() } else { node.clone() };
                found.push(HalfValue { name, node, needs: of_inputs.clone() });
            }
        }
        Ok(())
    })?;
    Ok(found)
}

/// Calls `each_one` for every message in a field of the model's graph.
fn in_graph<'a>(
    model: &'a [u8],
    field: u32,
    each_one: &mut dyn FnMut(&'a [u8]) -> Result<(), OnnxError>,
) -> Result<(), OnnxError> {
    each(model, |number, value| match (number, value) {
        (7, Value::Bytes(graph)) => each(graph, |number, value| match value {
            Value::Bytes(message) if number == field => each_one(message),
            _ => Ok(()),
        }),
        _ => Ok(()),
    })
}

/// Whether a tensor has f16 elements.
fn tensor_is_half(tensor: &[u8]) -> Result<bool, OnnxError> {
    Ok(dtype_of(tensor)? == FLOAT16)
}

/// The bytes of a text field.
fn text(message: &[u8], field: u32) -> Result<Option<&[u8]>, OnnxError> {
    let mut found = None;
    each(message, |number, value| {
        if let (true, Value::Bytes(bytes)) = (number == field, value) {
            found = Some(bytes);
        }
        Ok(())
    })?;
    Ok(found)
}
