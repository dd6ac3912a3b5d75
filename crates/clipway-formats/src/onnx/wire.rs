//! The protobuf wire format.

use crate::error::{Code, FormatError, Place};
use crate::source::{ReadAt, read_range};

/// Number of bytes to read ahead.
const BUFFER: u64 = 4096;

/// Maximum length of a text field.
const LONGEST_TEXT: u64 = 1 << 20;

/// A message, read field by field from its place in a file.
pub(super) struct Message<'a> {
    source: &'a dyn ReadAt,
    position: u64,
    end: u64,
    buffer: Vec<u8>,
    buffer_start: u64,
}

/// A field of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    /// Offset of the field in the file.
    pub(super) offset: u64,
    pub(super) value: Value,
}

/// The value of a field: a number, or the place of its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Varint(u64),
    Fixed { start: u64, length: u64 },
    Bytes { start: u64, end: u64 },
}

impl<'a> Message<'a> {
    /// A message from byte `start` to byte `end` of a file; `end` is inside the file.
    pub(super) fn new(source: &'a dyn ReadAt, start: u64, end: u64) -> Message<'a> {
        Message { source, position: start, end, buffer: Vec::new(), buffer_start: start }
    }

    /// The file that holds it.
    pub(super) fn source(&self) -> &'a dyn ReadAt {
        self.source
    }

    /// Whether nothing is left.
    pub(super) fn at_end(&self) -> bool {
        self.position == self.end
    }

    fn byte(&mut self) -> Result<u8, FormatError> {
        if self.at_end() {
            let cause = "a message ends inside a field";
            return Err(FormatError::new(Code::Truncated, Place::Byte(self.position), cause));
        }
        let buffered = |this: &Self| {
            let index = this.position.checked_sub(this.buffer_start)?;
            this.buffer.get(usize::try_from(index).ok()?).copied()
        };
        let byte = match buffered(self) {
            Some(byte) => byte,
            None => {
                self.buffer = read_range(self.source, self.position, BUFFER.min(self.end - self.position))?;
                self.buffer_start = self.position;
                self.buffer[0]
            }
        };
        self.position += 1;
        Ok(byte)
    }

    /// Reads a varint.
    pub(super) fn varint(&mut self) -> Result<u64, FormatError> {
        let start = self.position;
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(FormatError::new(Code::Malformed, Place::Byte(start), "a number of more than 64 bits"))
    }

    fn skip(&mut self, length: u64) -> Result<u64, FormatError> {
        let start = self.position;
        match start.checked_add(length).filter(|&end| end <= self.end) {
            Some(end) => {
                self.position = end;
                Ok(start)
            }
            None => {
                let cause =
                    format!("a field of {length} bytes, but the message around it ends at {}", self.end);
                Err(FormatError::new(Code::Truncated, Place::Byte(start), cause))
            }
        }
    }

    /// Reads the next field; payloads are skipped.
    pub(super) fn next(&mut self) -> Result<Option<Field>, FormatError> {
        if self.at_end() {
            return Ok(None);
        }
        let offset = self.position;
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let Some(number) = number else {
            let cause = format!("field number {} is not allowed", tag >> 3);
            return Err(FormatError::new(Code::Malformed, Place::Byte(offset), cause));
        };
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed { start: self.skip(8)?, length: 8 },
            2 => {
                let length = self.varint()?;
                let start = self.skip(length)?;
                Value::Bytes { start, end: self.position }
            }
            5 => Value::Fixed { start: self.skip(4)?, length: 4 },
            kind => {
                let cause = format!("field {number} is of wire type {kind}, which ONNX does not use");
                return Err(FormatError::new(Code::Malformed, Place::Byte(offset), cause));
            }
        };
        Ok(Some(Field { number, offset, value }))
    }

    /// The message inside a field.
    pub(super) fn message(&self, field: &Field) -> Result<Message<'a>, FormatError> {
        let (start, end) = field.bytes()?;
        Ok(Message::new(self.source, start, end))
    }

    /// The text of a field.
    pub(super) fn text(&self, field: &Field) -> Result<String, FormatError> {
        let (start, end) = field.bytes()?;
        if end - start > LONGEST_TEXT {
            let cause = format!("a text of {} bytes; the limit is {LONGEST_TEXT}", end - start);
            return Err(field.error(Code::TooLarge, cause));
        }
        String::from_utf8(read_range(self.source, start, end - start)?)
            .map_err(|_| field.error(Code::Malformed, "a text that is not valid UTF-8"))
    }
}

impl Field {
    /// An error at the field.
    pub(super) fn error(&self, code: Code, cause: impl Into<String>) -> FormatError {
        FormatError::new(code, Place::Byte(self.offset), cause)
    }

    /// The error of a field that is unknown in its message.
    pub(super) fn unknown(&self, message: &str) -> FormatError {
        self.error(Code::UnknownKey, format!("{message} has no field {}", self.number))
    }

    /// The place of the field's bytes.
    pub(super) fn bytes(&self) -> Result<(u64, u64), FormatError> {
        match self.value {
            Value::Bytes { start, end } => Ok((start, end)),
            _ => Err(self.wrong_type("bytes")),
        }
    }

    /// The field as a number.
    pub(super) fn number(&self) -> Result<u64, FormatError> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(self.wrong_type("a number")),
        }
    }

    pub(super) fn wrong_type(&self, expected: &str) -> FormatError {
        self.error(Code::Malformed, format!("field {} is not {expected}", self.number))
    }

    /// Stores a value, once.
    pub(super) fn set<T>(&self, place: &mut Option<T>, value: T) -> Result<(), FormatError> {
        match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(self.error(Code::Duplicate, format!("duplicate field {}", self.number))),
        }
    }
}
