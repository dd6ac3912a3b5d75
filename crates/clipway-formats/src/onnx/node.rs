//! The nodes of a graph, as far as the sizes of what they compute depend on them.

use crate::dtype::Dtype;
use crate::error::FormatError;
use crate::onnx::tensor::dtype_of;
use crate::onnx::wire::{Field, Message, Value};
use crate::source::read_range;

/// Most integers that are kept of an attribute or a constant: no shape has more dimensions, and no list of places is
/// longer.
const MOST_INTEGERS: usize = 1024;

/// Longest text of an attribute that is kept: modes and equations are shorter.
const LONGEST_TEXT: u64 = 256;

/// A node: its operator, the values that it takes and gives, and its settings. Names of values that are left out are
/// empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnnxOperation {
    /// Its name; may be empty.
    pub name: String,
    /// The operator, without its domain.
    pub operator: String,
    /// Values that it takes.
    pub inputs: Vec<String>,
    /// Values that it gives.
    pub outputs: Vec<String>,
    settings: Vec<Setting>,
}

/// A constant of an attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnnxConstant {
    /// Lengths of its dimensions.
    pub shape: Vec<u64>,
    /// Its elements, if they are few integers.
    pub integers: Option<Vec<i64>>,
}

/// An attribute. Numbers, graphs and what is too long are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Setting {
    name: String,
    integer: Option<i64>,
    integers: Vec<i64>,
    text: String,
    constant: Option<OnnxConstant>,
}

impl OnnxOperation {
    /// Its name, or that of its first output.
    pub fn shown_name(&self) -> &str {
        match self.name.as_str() {
            "" => self.outputs.first().map_or("", String::as_str),
            name => name,
        }
    }

    /// An attribute that is an integer.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.setting(name)?.integer
    }

    /// An attribute that is a list of integers.
    pub fn integers(&self, name: &str) -> Option<&[i64]> {
        self.setting(name).map(|setting| setting.integers.as_slice())
    }

    /// An attribute that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.setting(name).map(|setting| setting.text.as_str())
    }

    /// An attribute that is a tensor.
    pub fn constant(&self, name: &str) -> Option<&OnnxConstant> {
        self.setting(name)?.constant.as_ref()
    }

    fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }

    /// Adds an attribute.
    pub(super) fn set(&mut self, message: Message<'_>) -> Result<(), FormatError> {
        self.settings.push(read_setting(message)?);
        Ok(())
    }
}

fn read_setting(mut message: Message<'_>) -> Result<Setting, FormatError> {
    let mut setting = Setting::default();
    while let Some(field) = message.next()? {
        match (field.number, field.value) {
            (1, Value::Bytes { .. }) => setting.name = message.text(&field)?,
            (3, Value::Varint(number)) => setting.integer = Some(number as i64),
            (4, Value::Bytes { start, end }) if end - start <= LONGEST_TEXT => {
                setting.text = message.text(&field).unwrap_or_default();
            }
            (5, Value::Bytes { .. }) => setting.constant = read_constant(message.message(&field)?).ok(),
            (8, _) => integers(&message, &field, &mut setting.integers)?,
            _ => {}
        }
    }
    Ok(setting)
}

/// Appends integers that stand alone or packed, as long as they are few.
fn integers(message: &Message<'_>, field: &Field, out: &mut Vec<i64>) -> Result<(), FormatError> {
    match field.value {
        Value::Varint(number) => out.push(number as i64),
        Value::Bytes { .. } => {
            let mut packed = message.message(field)?;
            while !packed.at_end() && out.len() <= MOST_INTEGERS {
                out.push(packed.varint()? as i64);
            }
        }
        Value::Fixed { .. } => {}
    }
    Ok(())
}

/// Reads a constant; its elements only if they are few integers.
fn read_constant(mut message: Message<'_>) -> Result<OnnxConstant, FormatError> {
    let (mut dims, mut listed) = (Vec::new(), Vec::new());
    let (mut dtype, mut raw) = (None, None);
    while let Some(field) = message.next()? {
        match (field.number, field.value) {
            (1, _) => integers(&message, &field, &mut dims)?,
            (2, Value::Varint(number)) => dtype = dtype_of(number, &field).ok(),
            (5 | 7, _) if listed.len() <= MOST_INTEGERS => integers(&message, &field, &mut listed)?,
            (9, Value::Bytes { start, end }) => raw = Some((start, end)),
            _ => {}
        }
    }
    let shape: Vec<u64> = dims.iter().map(|length| u64::try_from(*length).unwrap_or(0)).collect();
    let integers = match (dtype, raw) {
        (Some(dtype), Some((start, end))) if are_integers(dtype, (end - start) as usize) => {
            integers_of(dtype, &read_range(message.source(), start, end - start)?)
        }
        (Some(Dtype::I64 | Dtype::I32), None) => Some(listed),
        _ => None,
    };
    Ok(OnnxConstant { shape, integers })
}

/// Whether so many bytes of a dtype are few integers of 32 or 64 bits.
pub(super) fn are_integers(dtype: Dtype, bytes: usize) -> bool {
    matches!(dtype, Dtype::I64 | Dtype::I32) && bytes <= MOST_INTEGERS * dtype.size()
}

/// The elements of little-endian integers of 32 or 64 bits; `None` for other dtypes.
pub(super) fn integers_of(dtype: Dtype, bytes: &[u8]) -> Option<Vec<i64>> {
    match dtype {
        Dtype::I64 => Some(bytes.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()),
        Dtype::I32 => {
            Some(bytes.as_chunks().0.iter().map(|bytes| i64::from(i32::from_le_bytes(*bytes))).collect())
        }
        _ => None,
    }
}
