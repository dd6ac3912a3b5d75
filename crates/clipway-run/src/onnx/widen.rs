//! A model of f16 as one of f32, for a runtime that has no f16: weights keep their values, casts to f16 become casts
//! to f32, and external data moves into the model.

use std::path::Path;

use clipway_model::input::{self, Kind};
use half::f16;

use super::failure::OnnxError;

/// `TensorProto.DataType` of f32.
const FLOAT: u64 = 1;

/// `TensorProto.DataType` of f16.
pub(super) const FLOAT16: u64 = 10;

/// A field of a message.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Number(u64),
    Fixed(&'a [u8]),
    Bytes(&'a [u8]),
}

/// Reads a model and returns its bytes with f32 instead of f16.
///
/// # Errors
/// Files that cannot be read, or are no ONNX.
pub(super) fn widened(path: &Path) -> Result<Vec<u8>, OnnxError> {
    let load = |cause: String| OnnxError::Malformed { cause };
    let read = |path: &Path| input::read(path, Kind::Weights).map_err(|error| load(error.to_string()));
    let bytes = read(path)?;
    let mut external = Vec::new();
    let mut beside = |name: &str| -> Result<Vec<u8>, OnnxError> {
        if name.contains(['/', '\\']) || name == ".." {
            return Err(load(format!("external data in `{name}`, which is no bare file name")));
        }
        read(&path.with_file_name(name))
    };
    rewrite(&bytes, |number, value, out| match (number, value) {
        (7, Value::Bytes(graph)) => {
            let graph = rewrite(graph, |number, value, out| match (number, value) {
                (1, Value::Bytes(node)) => push_bytes(out, 1, &widen_node(node, &mut external, &mut beside)?),
                (5, Value::Bytes(tensor)) => {
                    push_bytes(out, 5, &widen_tensor(tensor, &mut external, &mut beside)?)
                }
                (number, value) => push(out, number, value),
            })?;
            push_bytes(out, 7, &graph)
        }
        (number, value) => push(out, number, value),
    })
}

/// A node; one that casts to f16 casts to f32, and a constant of f16 becomes one of f32.
fn widen_node(
    node: &[u8],
    files: &mut Vec<(String, Vec<u8>)>,
    beside: &mut dyn FnMut(&str) -> Result<Vec<u8>, OnnxError>,
) -> Result<Vec<u8>, OnnxError> {
    let mut is_cast = false;
    each(node, |number, value| {
        is_cast |= number == 4 && matches!(value, Value::Bytes(b"Cast"));
        Ok(())
    })?;
    rewrite(node, |number, value, out| match (number, value) {
        (5, Value::Bytes(attribute)) => {
            let attribute = rewrite(attribute, |number, value, out| match (number, value) {
                (3, Value::Number(FLOAT16)) if is_cast => push(out, 3, Value::Number(FLOAT)),
                (5, Value::Bytes(tensor)) => push_bytes(out, 5, &widen_tensor(tensor, files, beside)?),
                (number, value) => push(out, number, value),
            })?;
            push_bytes(out, 5, &attribute)
        }
        (number, value) => push(out, number, value),
    })
}

/// The dtype of a tensor, by ONNX's number.
pub(super) fn dtype_of(tensor: &[u8]) -> Result<u64, OnnxError> {
    let mut dtype = 0;
    each(tensor, |number, value| {
        if let (2, Value::Number(number)) = (number, value) {
            dtype = number;
        }
        Ok(())
    })?;
    Ok(dtype)
}

/// A tensor with its elements in the message; one of f16 becomes one of f32.
fn widen_tensor(
    tensor: &[u8],
    files: &mut Vec<(String, Vec<u8>)>,
    beside: &mut dyn FnMut(&str) -> Result<Vec<u8>, OnnxError>,
) -> Result<Vec<u8>, OnnxError> {
    let dtype = dtype_of(tensor)?;
    let is_half = dtype == FLOAT16;
    let mut place = [None, None, None];
    let mut inline: Option<&[u8]> = None;
    // Elements of f16 that stand as integers, which hold their bits.
    let mut integers: Vec<u8> = Vec::new();
    let mut out = Vec::new();
    each(tensor, |number, value| {
        match (number, value) {
            (2, Value::Number(_)) => {
                push(&mut out, 2, Value::Number(if is_half { FLOAT } else { dtype }))?;
            }
            (5, Value::Number(bits)) if is_half => integers.extend((bits as u16).to_le_bytes()),
            (5, Value::Bytes(mut packed)) if is_half => {
                while !packed.is_empty() {
                    integers.extend((varint(&mut packed)? as u16).to_le_bytes());
                }
            }
            (9, Value::Bytes(bytes)) => inline = Some(bytes),
            (13, Value::Bytes(pair)) => {
                let mut texts = [String::new(), String::new()];
                each(pair, |number, value| {
                    if let (1 | 2, Value::Bytes(text)) = (number, value) {
                        texts[number as usize - 1] = String::from_utf8_lossy(text).into_owned();
                    }
                    Ok(())
                })?;
                let index = ["location", "offset", "length"].iter().position(|key| *key == texts[0]);
                if let Some(index) = index {
                    place[index] = Some(std::mem::take(&mut texts[1]));
                }
            }
            (14, _) => {}
            (number, value) => push(&mut out, number, value)?,
        }
        Ok(())
    })?;
    let bytes = match (inline, place) {
        (Some(bytes), _) => bytes,
        (None, [Some(name), offset, length]) => {
            if !files.iter().any(|(known, _)| *known == name) {
                files.push((name.clone(), beside(&name)?));
            }
            let file = files.iter().find(|(known, _)| *known == name).map(|(_, bytes)| bytes.as_slice());
            let whole = file.unwrap_or_default();
            let number = |text: Option<String>, otherwise: usize| match text {
                Some(text) => text.parse().map_err(|_| malformed(format!("`{name}`: a place of `{text}`"))),
                None => Ok(otherwise),
            };
            let offset = number(offset, 0)?;
            let length = number(length, whole.len().saturating_sub(offset))?;
            let part = whole.get(offset..).and_then(|rest| rest.get(..length));
            part.ok_or_else(|| malformed(format!("`{name}` has no {length} bytes at {offset}")))?
        }
        // The elements stand in a list of their own dtype, which was copied; or there are none.
        (None, _) if !is_half => return Ok(out),
        (None, _) => &integers,
    };
    if is_half {
        let (halves, _) = bytes.as_chunks::<2>();
        let wide: Vec<u8> =
            halves.iter().flat_map(|half| f16::from_le_bytes(*half).to_f32().to_le_bytes()).collect();
        push_bytes(&mut out, 9, &wide)?;
    } else {
        push_bytes(&mut out, 9, bytes)?;
    }
    Ok(out)
}

/// Makes a message of another, field by field.
fn rewrite<'a>(
    message: &'a [u8],
    mut field: impl FnMut(u32, Value<'a>, &mut Vec<u8>) -> Result<(), OnnxError>,
) -> Result<Vec<u8>, OnnxError> {
    let mut out = Vec::with_capacity(message.len());
    each(message, |number, value| field(number, value, &mut out))?;
    Ok(out)
}

/// Reads the fields of a message.
pub(super) fn each<'a>(
    message: &'a [u8],
    mut field: impl FnMut(u32, Value<'a>) -> Result<(), OnnxError>,
) -> Result<(), OnnxError> {
    let mut rest = message;
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut rest)?),
            1 => Value::Fixed(take(&mut rest, 8)?),
            2 => {
                let length = varint(&mut rest)?;
                Value::Bytes(take(&mut rest, length)?)
            }
            5 => Value::Fixed(take(&mut rest, 4)?),
            kind => return Err(malformed(format!("wire type {kind}"))),
        };
        field((tag >> 3) as u32, value)?;
    }
    Ok(())
}

fn varint(rest: &mut &[u8]) -> Result<u64, OnnxError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(malformed("a number of more than 64 bits".to_owned()))
}

fn take<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a [u8], OnnxError> {
    let length = usize::try_from(length).ok().filter(|length| *length <= rest.len());
    let length = length.ok_or_else(|| malformed("a field that ends beyond its message".to_owned()))?;
    let (taken, left) = rest.split_at(length);
    *rest = left;
    Ok(taken)
}

fn push(out: &mut Vec<u8>, number: u32, value: Value<'_>) -> Result<(), OnnxError> {
    let number = u64::from(number) << 3;
    match value {
        Value::Number(value) => {
            push_varint(out, number);
            push_varint(out, value);
        }
        Value::Fixed(bytes) => {
            push_varint(out, number | if bytes.len() == 8 { 1 } else { 5 });
            out.extend_from_slice(bytes);
        }
        Value::Bytes(bytes) => {
            push_varint(out, number | 2);
            push_varint(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
    }
    Ok(())
}

fn push_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) -> Result<(), OnnxError> {
    push(out, number, Value::Bytes(bytes))
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn malformed(cause: String) -> OnnxError {
    OnnxError::Malformed { cause: format!("no ONNX: {cause}") }
}
