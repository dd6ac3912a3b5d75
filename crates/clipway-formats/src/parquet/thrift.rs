//! Thrift's compact protocol, which describes a table and its pages.

use super::refusal::{Refusal, ended_early, malformed};

/// Types.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
pub(super) const I32: u8 = 5;
pub(super) const I64: u8 = 6;
const DOUBLE: u8 = 7;
pub(super) const BINARY: u8 = 8;
pub(super) const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
pub(super) const STRUCT: u8 = 12;
const UUID: u8 = 13;

/// Deepest nesting of what is passed over.
const MOST_DEPTH: usize = 64;

/// A field of a structure that is read.
#[derive(Clone, Copy)]
pub(super) struct Field {
    pub(super) number: i64,
    pub(super) kind: u8,
}

impl Field {
    /// The value of a boolean, which its type holds; `None` for other types.
    pub(super) fn boolean(self) -> Option<bool> {
        match self.kind {
            TRUE => Some(true),
            FALSE => Some(false),
            _ => None,
        }
    }
}

/// Bytes that are read.
#[derive(Clone, Copy)]
pub(super) struct ThriftReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> ThriftReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> ThriftReader<'a> {
        ThriftReader { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    fn byte(&mut self) -> Result<u8, Refusal> {
        let byte = *self.bytes.get(self.at).ok_or_else(ended_early)?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn varint(&mut self) -> Result<u64, Refusal> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(malformed("a number of more than 64 bits"))
    }

    /// A signed number.
    pub(super) fn integer(&mut self) -> Result<i64, Refusal> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A length or a count that memory is never taken for by itself.
    pub(super) fn length(&mut self) -> Result<usize, Refusal> {
        usize::try_from(self.varint()?).map_err(|_| malformed("a length that no memory holds"))
    }

    pub(super) fn binary(&mut self) -> Result<&'a [u8], Refusal> {
        let length = self.length()?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Refusal> {
        str::from_utf8(self.binary()?).map_err(|_| malformed("a name that is not UTF-8"))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Refusal> {
        let end = self.at.checked_add(length).ok_or_else(ended_early)?;
        let taken = self.bytes.get(self.at..end).ok_or_else(ended_early)?;
        self.at = end;
        Ok(taken)
    }

    /// Type and number of a list's elements.
    pub(super) fn list(&mut self) -> Result<(u8, usize), Refusal> {
        let byte = self.byte()?;
        let length = match byte >> 4 {
            15 => self.length()?,
            short => usize::from(short),
        };
        // An element has at least one byte.
        if length > self.bytes.len() - self.at {
            return Err(ended_early());
        }
        Ok((byte & 0x0f, length))
    }

    /// Shows the fields of a structure to a visitor, which reads the value of a field and returns true, or returns false
    /// and has it passed over.
    pub(super) fn structure(
        &mut self,
        mut visitor: impl FnMut(&mut ThriftReader<'a>, Field) -> Result<bool, Refusal>,
    ) -> Result<(), Refusal> {
        let mut last = 0;
        while let Some(field) = self.field(&mut last)? {
            if !visitor(self, field)? {
                self.skip(field.kind, MOST_DEPTH)?;
            }
        }
        Ok(())
    }

    /// Shows each element of a list of structures to a visitor, which reads it.
    pub(super) fn structures(
        &mut self,
        mut visitor: impl FnMut(&mut ThriftReader<'a>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let (kind, length) = self.list()?;
        if kind != STRUCT && length > 0 {
            return Err(malformed("a list of other things than structures"));
        }
        (0..length).try_for_each(|_| visitor(self))
    }

    /// The next field of a structure; `None` at its end.
    fn field(&mut self, last: &mut i64) -> Result<Option<Field>, Refusal> {
        let byte = self.byte()?;
        if byte == 0 {
            return Ok(None);
        }
        let number = match byte >> 4 {
            0 => self.integer()?,
            step => last.saturating_add(i64::from(step)),
        };
        *last = number;
        Ok(Some(Field { number, kind: byte & 0x0f }))
    }

    /// Passes over a value.
    fn skip(&mut self, kind: u8, depth: usize) -> Result<(), Refusal> {
        let Some(depth) = depth.checked_sub(1) else { return Err(malformed("structures nested too deeply")) };
        match kind {
            TRUE | FALSE => {}
            BYTE => _ = self.byte()?,
            I16 | I32 | I64 => _ = self.varint()?,
            DOUBLE => _ = self.take(8)?,
            UUID => _ = self.take(16)?,
            BINARY => _ = self.binary()?,
            LIST | SET => {
                let (kind, length) = self.list()?;
                (0..length).try_for_each(|_| self.skip_element(kind, depth))?;
            }
            MAP => {
                let length = self.length()?;
                if length > 0 {
                    let kinds = self.byte()?;
                    for _ in 0..length {
                        self.skip_element(kinds >> 4, depth)?;
                        self.skip_element(kinds & 0x0f, depth)?;
                    }
                }
            }
            STRUCT => {
                let mut last = 0;
                while let Some(field) = self.field(&mut last)? {
                    self.skip(field.kind, depth)?;
                }
            }
            _ => return Err(malformed(format!("a value of the unknown type {kind}"))),
        }
        Ok(())
    }

    /// Passes over an element of a list, where a boolean has a byte of its own.
    fn skip_element(&mut self, kind: u8, depth: usize) -> Result<(), Refusal> {
        self.skip(if matches!(kind, TRUE | FALSE) { BYTE } else { kind }, depth)
    }
}

/// A structure that is written.
#[derive(Default)]
pub(super) struct Thrift {
    bytes: Vec<u8>,
    last: u8,
}

impl Thrift {
    /// Begins a field; numbers ascend, by 15 at most.
    fn field(&mut self, number: u8, kind: u8) {
        self.bytes.push((number - self.last) << 4 | kind);
        self.last = number;
    }

    pub(super) fn integer(&mut self, number: u8, kind: u8, value: i64) {
        self.field(number, kind);
        self.bytes.extend(zigzag(value));
    }

    pub(super) fn text(&mut self, number: u8, text: &str) {
        self.field(number, BINARY);
        self.bytes.extend(binary(text));
    }

    pub(super) fn structure(&mut self, number: u8, encoded: &[u8]) {
        self.field(number, STRUCT);
        self.bytes.extend(encoded);
    }

    pub(super) fn structs(&mut self, number: u8, encoded: impl ExactSizeIterator<Item = Vec<u8>>) {
        self.list(number, STRUCT, encoded);
    }

    pub(super) fn list(&mut self, number: u8, kind: u8, items: impl ExactSizeIterator<Item = Vec<u8>>) {
        self.field(number, LIST);
        match items.len() {
            length @ 0..15 => self.bytes.push((length as u8) << 4 | kind),
            length => {
                self.bytes.push(0xf0 | kind);
                varint(length as u64, &mut self.bytes);
            }
        }
        items.for_each(|item| self.bytes.extend(item));
    }

    pub(super) fn ended(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

pub(super) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn zigzag(value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    varint((value << 1 ^ value >> 63) as u64, &mut out);
    out
}

pub(super) fn binary(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    varint(text.len() as u64, &mut out);
    out.extend(text.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_zigzag_varints() {
        assert_eq!(
            [zigzag(0), zigzag(-1), zigzag(1), zigzag(150)],
            [vec![0], vec![1], vec![2], vec![0xac, 0x02]]
        );
    }

    #[test]
    fn what_is_written_is_read() {
        let mut inner = Thrift::default();
        inner.text(1, "deep");
        let inner = inner.ended();
        let mut thrift = Thrift::default();
        thrift.integer(1, I32, -7);
        thrift.structure(2, &inner);
        thrift.structs(3, (0..20).map(|_| inner.clone()));
        thrift.integer(9, I64, i64::MIN);
        let bytes = thrift.ended();
        let mut found = Vec::new();
        let mut reader = ThriftReader::new(&bytes);
        reader
            .structure(|reader, field| {
                match field.number {
                    1 | 9 => found.push(reader.integer()?),
                    // All else is passed over.
                    _ => return Ok(false),
                }
                Ok(true)
            })
            .unwrap_or_else(|_| panic!("a structure"));
        assert_eq!((found, reader.position()), (vec![-7, i64::MIN], bytes.len()));
        for length in 0..bytes.len() {
            let cut = ThriftReader::new(&bytes[..length]).structure(|_, _| Ok(false));
            assert!(cut.is_err(), "{length}");
        }
    }

    #[test]
    fn depth_and_numbers_are_bounded() {
        let deep = [0x1c; 1000];
        assert!(ThriftReader::new(&deep).structure(|_, _| Ok(false)).is_err());
        assert!(ThriftReader::new(&[0xff; 11]).varint().is_err());
        assert_eq!(
            ThriftReader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).varint().ok(),
            Some(u64::MAX)
        );
        // A list of more elements than bytes.
        assert!(ThriftReader::new(&[0xf5, 0xff, 0xff, 0x7f]).list().is_err());
    }
}
