//! A JSON document in memory: ordered, with the byte offset of every value.

use crate::error::{Code, FormatError, Place, shown};
use crate::json::cursor::JsonCursor;
use crate::json::reader::{Number, Reader};

/// Limits on a JSON document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonLimits {
    /// Maximum size of the text in bytes.
    pub bytes: usize,
    /// Maximum nesting of objects and arrays.
    pub depth: usize,
    /// Maximum number of values in the document.
    pub values: usize,
    /// Whether the text may start with a UTF-8 byte order mark.
    pub byte_order_mark: bool,
}

impl JsonLimits {
    /// Limits for files that people write: 8 MiB, 100 000 values.
    pub const CONFIG: JsonLimits =
        JsonLimits { bytes: 8 << 20, depth: 128, values: 100_000, byte_order_mark: true };
}

/// A JSON value with its position.
#[derive(Clone, Debug, PartialEq)]
pub struct Json {
    /// Byte offset of the value in its file.
    pub offset: u64,
    /// The value.
    pub value: JsonValue,
}

/// The kinds of JSON values. Objects keep the file's order and have no duplicate keys.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonValue {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer of 0 or more, written without a point or an exponent.
    Unsigned(u64),
    /// An integer below 0, written without a point or an exponent.
    Negative(i64),
    /// Any other number; always finite.
    Float(f64),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object.
    Object(Vec<(String, Json)>),
}

impl JsonValue {
    /// Name of the kind, for messages.
    pub const fn kind(&self) -> &'static str {
        match self {
            JsonValue::Null => "null",
            JsonValue::Bool(_) => "a boolean",
            JsonValue::Unsigned(_) | JsonValue::Negative(_) => "an integer",
            JsonValue::Float(_) => "a number with a fraction or an exponent",
            JsonValue::String(_) => "a string",
            JsonValue::Array(_) => "an array",
            JsonValue::Object(_) => "an object",
        }
    }
}

impl Json {
    /// Parses a whole document strictly: RFC 8259 without duplicate keys.
    ///
    /// # Errors
    /// `Code::TooLarge` over a limit, `Code::Duplicate` for a duplicate key, `Code::BadValue` for a number beyond 64
    /// bits, `Code::Truncated` for text that ends early and `Code::Malformed` for everything else; each with its byte
    /// offset.
    pub fn parse(bytes: &[u8], limits: JsonLimits) -> Result<Json, FormatError> {
        if bytes.len() > limits.bytes {
            let cause = format!("{} bytes of JSON; the limit is {}", bytes.len(), limits.bytes);
            return Err(FormatError::new(Code::TooLarge, Place::File, cause));
        }
        let mark = b"\xef\xbb\xbf";
        let (text, base) = match bytes.strip_prefix(mark) {
            Some(text) if limits.byte_order_mark => (text, mark.len() as u64),
            _ => (bytes, 0),
        };
        let mut reader = Reader::new(text, base, limits.depth)?;
        let mut left = limits.values;
        let json = read_value(&mut reader, &mut left, limits.values)?;
        reader.end()?;
        Ok(json)
    }

    /// A cursor at this value as the root of its document, `$`.
    pub fn root(&self) -> JsonCursor<'_> {
        JsonCursor::root(self)
    }
}

/// Reads one value; the reader limits the depth and so this recursion.
fn read_value(reader: &mut Reader<'_>, left: &mut usize, most: usize) -> Result<Json, FormatError> {
    let first = reader.peek();
    let offset = reader.offset();
    let Some(fewer) = left.checked_sub(1) else {
        return Err(reader.error_at(offset, Code::TooLarge, format!("more than {most} JSON values")));
    };
    *left = fewer;
    let value = match first {
        Some(b'{') => {
            let mut members = Vec::new();
            reader.object(|reader, key, key_offset| {
                let value = read_value(reader, left, most)?;
                members.push((key.into_owned(), value, key_offset));
                Ok(())
            })?;
            if let Some((key, at)) = first_duplicate(members.iter().map(|(key, _, at)| (key.as_str(), *at))) {
                let cause = format!("duplicate key `{}` in an object", shown(key));
                return Err(reader.error_at(at, Code::Duplicate, cause));
            }
            JsonValue::Object(members.into_iter().map(|(key, value, _)| (key, value)).collect())
        }
        Some(b'[') => {
            let mut items = Vec::new();
            reader.array(|reader| {
                items.push(read_value(reader, left, most)?);
                Ok(())
            })?;
            JsonValue::Array(items)
        }
        Some(b'"') => JsonValue::String(reader.string()?.into_owned()),
        Some(b'-' | b'0'..=b'9') => match reader.number()? {
            Number::Unsigned(value) => JsonValue::Unsigned(value),
            Number::Negative(value) => JsonValue::Negative(value),
            Number::Float(value) => JsonValue::Float(value),
        },
        _ => reader.literal()?.map_or(JsonValue::Null, JsonValue::Bool),
    };
    Ok(Json { offset, value })
}

/// The first duplicate name, with its offset.
pub(crate) fn first_duplicate<'a>(names: impl Iterator<Item = (&'a str, u64)>) -> Option<(&'a str, u64)> {
    let mut sorted: Vec<(&str, u64)> = names.collect();
    sorted.sort_unstable();
    let repeated = sorted.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1]);
    repeated.min_by_key(|&(_, offset)| offset)
}
