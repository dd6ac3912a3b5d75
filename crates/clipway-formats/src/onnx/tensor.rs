//! Initializers (`TensorProto`): name, dtype, shape, and where the elements are.

use crate::dtype::Dtype;
use crate::error::{Code, FormatError, Place, shown};
use crate::onnx::wire::{Field, Message, Value};
use crate::path::escape;
use crate::shape::{MOST_DIMENSIONS, contiguous_bytes, shown_shape};
use crate::source::{ReadAt, read_range};
use crate::tensor::TensorInfo;

/// A tensor of a graph, before external data files are opened.
#[derive(Debug)]
pub(super) struct Initializer {
    pub(super) info: TensorInfo,
    pub(super) data: Data,
}

/// Where the elements of an initializer are.
#[derive(Debug)]
pub(super) enum Data {
    /// Little-endian bytes in the model.
    Bytes { offset: u64 },
    /// Numbers in the wire format, in the tensor's message at this place.
    Typed { start: u64, end: u64 },
    /// In another file; up to its end if no length is given.
    External { location: String, offset: u64, whole: bool },
}

/// How numbers are stored in the fields of a tensor: by the number of the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    /// Little-endian elements of their own size: `float_data`, `double_data`.
    Fixed,
    /// Varints, narrower elements one by one: `int32_data`, `int64_data`, `uint64_data`.
    Varint,
}

/// The field that stores a dtype's numbers, and how.
fn typed_field(dtype: Dtype) -> (u32, Encoding) {
    match dtype {
        Dtype::F32 => (4, Encoding::Fixed),
        Dtype::F64 => (10, Encoding::Fixed),
        Dtype::I64 => (7, Encoding::Varint),
        Dtype::U32 | Dtype::U64 => (11, Encoding::Varint),
        _ => (5, Encoding::Varint),
    }
}

/// The dtype of a `TensorProto.DataType`.
pub(super) fn dtype_of(number: u64, at: &Field) -> Result<Dtype, FormatError> {
    let dtype = match number {
        1 => Dtype::F32,
        2 => Dtype::U8,
        3 => Dtype::I8,
        4 => Dtype::U16,
        5 => Dtype::I16,
        6 => Dtype::I32,
        7 => Dtype::I64,
        9 => Dtype::Bool,
        10 => Dtype::F16,
        11 => Dtype::F64,
        12 => Dtype::U32,
        13 => Dtype::U64,
        16 => Dtype::BF16,
        17 => Dtype::F8E4M3,
        19 => Dtype::F8E5M2,
        0 => return Err(at.error(Code::BadValue, "a tensor with undefined dtype")),
        _ => return Err(at.error(Code::Unsupported, format!("the ONNX dtype {number} is not supported"))),
    };
    Ok(dtype)
}

/// The relevant fields of a tensor.
#[derive(Default)]
struct Fields {
    shape: Vec<u64>,
    dtype: Option<u64>,
    name: Option<String>,
    description: Option<String>,
    raw: Option<(u64, u64)>,
    /// The number fields that are present, and their total number of bytes or numbers.
    typed: Option<(u32, u64)>,
    external: Vec<(String, String)>,
    location: Option<u64>,
}

/// Reads an initializer; its elements are located and counted, but not kept.
pub(super) fn read_initializer(mut message: Message<'_>, at: &Field) -> Result<Initializer, FormatError> {
    let mut fields = Fields::default();
    while let Some(field) = message.next()? {
        fields.add(&mut message, &field)?;
    }
    let name = fields.name.take().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| at.error(Code::BadValue, "an initializer without a name"))?;
    let refuse = |code, cause: String| FormatError::new(code, Place::Tensor(name.clone()), cause);
    let dtype = dtype_of(fields.dtype.unwrap_or(0), at).map_err(|error| refuse(error.code, error.cause))?;
    let shape: Option<Vec<usize>> =
        fields.shape.iter().map(|&length| isize::try_from(length as i64).ok()?.try_into().ok()).collect();
    let shape = shape.ok_or_else(|| refuse(Code::BadValue, "a dimension is negative".to_owned()))?;
    let Some(bytes) = contiguous_bytes(dtype, &shape) else {
        return Err(refuse(
            Code::TooLarge,
            format!("{dtype} {} is too large for any memory", shown_shape(&shape)),
        ));
    };
    let wrong = |found: u64, unit: &str| {
        let cause =
            format!("{dtype} {} has {bytes} bytes, but {found} {unit} are stored", shown_shape(&shape));
        Err(refuse(Code::Malformed, cause))
    };
    let data = match (fields.location.unwrap_or(0), fields.raw, fields.typed) {
        (1, None, None) => {
            read_external(&fields.external, bytes as u64).map_err(|(code, cause)| refuse(code, cause))?
        }
        (0, _, _) if !fields.external.is_empty() => {
            return Err(refuse(Code::Malformed, "external data is given, but not marked as used".to_owned()));
        }
        (0, Some((start, end)), None) if end - start == bytes as u64 => Data::Bytes { offset: start },
        (0, Some((start, end)), None) => return wrong(end - start, "bytes"),
        (0, None, Some((number, count))) => {
            let (expected, encoding) = typed_field(dtype);
            if number != expected {
                let cause = format!("elements of {dtype} are in field {expected}, not {number}");
                return Err(refuse(Code::Malformed, cause));
            }
            let (unit, size) =
                if encoding == Encoding::Fixed { ("bytes", 1) } else { ("numbers", dtype.size()) };
            if count != (bytes / size) as u64 {
                return wrong(count, unit);
            }
            let (start, end) = at.bytes()?;
            Data::Typed { start, end }
        }
        (0, None, None) if bytes == 0 => Data::Bytes { offset: 0 },
        (0, None, None) => return wrong(0, "bytes"),
        (0 | 1, _, _) => {
            return Err(refuse(Code::Malformed, "its elements are stored in two ways at once".to_owned()));
        }
        (other, _, _) => {
            return Err(refuse(Code::Unsupported, format!("unknown data location {other}")));
        }
    };
    Ok(Initializer { info: TensorInfo { name, dtype, shape }, data })
}

impl Fields {
    fn add(&mut self, message: &mut Message<'_>, field: &Field) -> Result<(), FormatError> {
        match field.number {
            1 => match field.value {
                Value::Varint(length) => self.add_length(length, field)?,
                _ => {
                    let mut packed = message.message(field)?;
                    while !packed.at_end() {
                        let length = packed.varint()?;
                        self.add_length(length, field)?;
                    }
                }
            },
            2 => field.set(&mut self.dtype, field.number()?)?,
            3 => return Err(field.error(Code::Unsupported, "tensors in segments are not supported")),
            4 | 5 | 7 | 10 | 11 => {
                let (number, count) = self.typed.get_or_insert((field.number, 0));
                if *number != field.number {
                    return Err(field.error(Code::Malformed, "elements are stored in two ways at once"));
                }
                *count += count_of(message, field)?;
            }
            6 => return Err(field.error(Code::Unsupported, "tensors of strings are not supported")),
            8 => field.set(&mut self.name, message.text(field)?)?,
            9 => field.set(&mut self.raw, field.bytes()?)?,
            12 => field.set(&mut self.description, message.text(field)?)?,
            13 if self.external.len() == 8 => {
                return Err(field.error(Code::TooLarge, "more than 8 keys of external data"));
            }
            13 => self.external.push(read_pair(message.message(field)?)?),
            14 => field.set(&mut self.location, field.number()?)?,
            16 => {
                field.bytes()?;
            }
            _ => return Err(field.unknown("an ONNX tensor")),
        }
        Ok(())
    }

    fn add_length(&mut self, length: u64, at: &Field) -> Result<(), FormatError> {
        if self.shape.len() == MOST_DIMENSIONS {
            let cause = format!("a shape of more than {MOST_DIMENSIONS} dimensions");
            return Err(at.error(Code::TooLarge, cause));
        }
        self.shape.push(length);
        Ok(())
    }
}

/// Bytes in a `float_data` or `double_data` field, number of values in the others.
fn count_of(message: &Message<'_>, field: &Field) -> Result<u64, FormatError> {
    let element = match field.number {
        4 => Some(4),
        10 => Some(8),
        _ => None,
    };
    match (field.value, element) {
        (Value::Fixed { length, .. }, Some(element)) if length == element => Ok(element),
        (Value::Bytes { start, end }, Some(element)) if (end - start).is_multiple_of(element) => {
            Ok(end - start)
        }
        (Value::Varint(_), None) => Ok(1),
        (Value::Bytes { .. }, None) => {
            let mut packed = message.message(field)?;
            let mut count = 0;
            while !packed.at_end() {
                packed.varint()?;
                count += 1;
            }
            Ok(count)
        }
        _ => Err(field.wrong_type("a list of numbers of its kind")),
    }
}

/// Reads a `StringStringEntryProto`.
pub(super) fn read_pair(mut message: Message<'_>) -> Result<(String, String), FormatError> {
    let (mut key, mut value) = (None, None);
    while let Some(field) = message.next()? {
        match field.number {
            1 => field.set(&mut key, message.text(&field)?)?,
            2 => field.set(&mut value, message.text(&field)?)?,
            _ => return Err(field.unknown("an ONNX pair of strings")),
        }
    }
    Ok((key.unwrap_or_default(), value.unwrap_or_default()))
}

/// Reads the location of external data: `location`, and the position in that file.
fn read_external(pairs: &[(String, String)], bytes: u64) -> Result<Data, (Code, String)> {
    let (mut location, mut offset, mut length) = (None, None, None);
    let decimal = |key: &str, text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let value = if digits { text.parse::<u64>().ok() } else { None };
        value.ok_or_else(|| (Code::BadValue, format!("the {key} of its external data is `{}`", shown(text))))
    };
    for (key, value) in pairs {
        let again = match key.as_str() {
            "location" => location.replace(value.clone()).is_some(),
            "offset" => offset.replace(decimal(key, value)?).is_some(),
            "length" => length.replace(decimal(key, value)?).is_some(),
            _ => {
                let cause = format!("unknown external data key `{}`", shown(key));
                return Err((Code::UnknownKey, cause));
            }
        };
        if again {
            return Err((Code::Duplicate, format!("duplicate external data key `{key}`")));
        }
    }
    let location = location.ok_or((Code::Missing, "its external data has no location".to_owned()))?;
    if let Some(cause) = escape(&location) {
        return Err((Code::PathEscape, format!("external data: {cause}")));
    }
    if let Some(length) = length.filter(|&length| length != bytes) {
        let cause = format!("its external data has {length} bytes, but its shape needs {bytes}");
        return Err((Code::Malformed, cause));
    }
    Ok(Data::External { location, offset: offset.unwrap_or(0), whole: length.is_none() })
}

/// Reads the elements of a tensor whose message is from `start` to `end`, stored as numbers.
pub(super) fn read_typed(
    source: &dyn ReadAt,
    start: u64,
    end: u64,
    info: &TensorInfo,
    out: &mut Vec<u8>,
) -> Result<(), FormatError> {
    let (number, encoding) = typed_field(info.dtype);
    let mut message = Message::new(source, start, end);
    while let Some(field) = message.next()? {
        if field.number != number {
            continue;
        }
        match (field.value, encoding) {
            (Value::Fixed { start, length }, Encoding::Fixed) => {
                out.extend(read_range(source, start, length)?);
            }
            (Value::Bytes { start, end }, Encoding::Fixed) => {
                out.extend(read_range(source, start, end - start)?);
            }
            (Value::Varint(value), Encoding::Varint) => push_number(value, info, &field, out)?,
            (_, Encoding::Varint) => {
                let mut packed = message.message(&field)?;
                while !packed.at_end() {
                    let value = packed.varint()?;
                    push_number(value, info, &field, out)?;
                }
            }
            _ => return Err(field.wrong_type("a list of numbers of its kind")),
        }
    }
    Ok(())
}

/// Appends a number as an element, after checking it: small floats are stored as their bits.
fn push_number(value: u64, info: &TensorInfo, at: &Field, out: &mut Vec<u8>) -> Result<(), FormatError> {
    let signed = value as i64;
    let fits = match info.dtype {
        Dtype::I32 => i32::try_from(signed).is_ok(),
        Dtype::I16 => i16::try_from(signed).is_ok(),
        Dtype::I8 => i8::try_from(signed).is_ok(),
        Dtype::U32 => u32::try_from(value).is_ok(),
        Dtype::Bool => value <= 1,
        Dtype::U16 | Dtype::F16 | Dtype::BF16 => u16::try_from(value).is_ok(),
        Dtype::U8 | Dtype::F8E4M3 | Dtype::F8E5M2 => u8::try_from(value).is_ok(),
        Dtype::I64 | Dtype::U64 | Dtype::F32 | Dtype::F64 => true,
    };
    if !fits {
        let cause =
            format!("tensor `{}` of type {} contains the number {signed}", shown(&info.name), info.dtype);
        return Err(at.error(Code::BadValue, cause));
    }
    out.extend_from_slice(&value.to_le_bytes()[..info.dtype.size()]);
    Ok(())
}
