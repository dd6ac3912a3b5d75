//! The header of an array: `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.

use crate::dtype::Dtype;
use crate::error::{Code, FormatError, Place, shown};
use crate::shape::{MOST_DIMENSIONS, contiguous_bytes, shown_shape};
use crate::source::{ReadAt, read_range};

/// First bytes of an npy file.
const MAGIC: &[u8] = b"\x93NUMPY";

/// Maximum header length, in bytes. numpy writes less than 1 kB for what is supported here.
const LONGEST_HEADER: u64 = 1 << 16;

/// The contents of an array's header.
#[derive(Debug)]
pub(crate) struct ArrayHeader {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) big_endian: bool,
    pub(crate) column_major: bool,
    /// Where the elements start.
    pub(crate) data_offset: u64,
}

impl ArrayHeader {
    /// Maximum number of bytes before the elements, so the longest piece that [`ArrayHeader::read`] needs.
    pub(crate) const LONGEST: u64 = MAGIC.len() as u64 + 6 + LONGEST_HEADER;

    /// Reads the header at the front of `source`.
    pub(crate) fn read(source: &dyn ReadAt) -> Result<ArrayHeader, FormatError> {
        let magic = read_range(source, 0, MAGIC.len() as u64)?;
        if magic != MAGIC {
            let cause = "the file does not start like npy";
            return Err(FormatError::new(Code::UnknownFormat, Place::Byte(0), cause));
        }
        let version = read_range(source, 6, 2)?;
        let length_bytes = match version[..] {
            [1, 0] => 2,
            [2 | 3, 0] => 4,
            _ => {
                let cause = format!("npy version {}.{} is not supported", version[0], version[1]);
                return Err(FormatError::new(Code::Unsupported, Place::Byte(6), cause));
            }
        };
        let mut length = [0; 8];
        length[..length_bytes as usize].copy_from_slice(&read_range(source, 8, length_bytes)?);
        let length = u64::from_le_bytes(length);
        if length > LONGEST_HEADER {
            let cause = format!("a header of {length} bytes; the limit is {LONGEST_HEADER}");
            return Err(FormatError::new(Code::TooLarge, Place::Byte(8), cause));
        }
        let base = 8 + length_bytes;
        let text = read_range(source, base, length)?;
        // Versions 1 and 2 are Latin-1 and version 3 is UTF-8, but all accepted literals are ASCII.
        if let Some(at) = text.iter().position(|byte| !byte.is_ascii()) {
            let cause = "the header is not ASCII";
            return Err(FormatError::new(Code::Malformed, Place::Byte(base + at as u64), cause));
        }
        let header = Literal { text: &text, position: 0, base }.header(base + length)?;
        if contiguous_bytes(header.dtype, &header.shape).is_none() {
            let cause = format!("{} {} is too large", header.dtype, shown_shape(&header.shape));
            return Err(FormatError::new(Code::TooLarge, Place::Byte(base), cause));
        }
        Ok(header)
    }

    /// Bytes of all elements.
    pub(crate) fn data_bytes(&self) -> u64 {
        let elements: usize = self.shape.iter().product();
        (elements * self.dtype.size()) as u64
    }
}

/// The rest of a Python literal.
struct Literal<'a> {
    text: &'a [u8],
    position: usize,
    /// Offset of `text` in the file.
    base: u64,
}

impl<'a> Literal<'a> {
    fn place(&self) -> Place {
        Place::Byte(self.base + self.position as u64)
    }

    fn error<T>(&self, code: Code, cause: impl Into<String>) -> Result<T, FormatError> {
        Err(FormatError::new(code, self.place(), cause))
    }

    fn peek(&mut self) -> Option<u8> {
        while matches!(self.text.get(self.position), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.position += 1;
        }
        self.text.get(self.position).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.position += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), FormatError> {
        if self.take(byte) {
            return Ok(());
        }
        let found = match self.peek() {
            Some(byte) => format!("`{}`", shown(&char::from(byte).to_string())),
            None => "its end".to_owned(),
        };
        self.error(Code::Malformed, format!("expected `{}` in the header, found {found}", char::from(byte)))
    }

    /// Reads the dictionary with its three entries, in any order.
    fn header(mut self, data_offset: u64) -> Result<ArrayHeader, FormatError> {
        let (mut descr, mut column_major, mut shape) = (None, None, None);
        self.expect(b'{')?;
        while !self.take(b'}') {
            self.peek();
            let key_place = self.place();
            let key = self.string()?;
            self.expect(b':')?;
            let again = match key {
                "descr" => descr.replace(self.descr()?).is_some(),
                "fortran_order" => column_major.replace(self.boolean()?).is_some(),
                "shape" => shape.replace(self.shape()?).is_some(),
                _ => {
                    let cause = format!("the header has the unknown key `{}`", shown(key));
                    return Err(FormatError::new(Code::UnknownKey, key_place, cause));
                }
            };
            if again {
                let cause = format!("the header has `{key}` twice");
                return Err(FormatError::new(Code::Duplicate, key_place, cause));
            }
            if !self.take(b',') && self.peek() != Some(b'}') {
                self.expect(b',')?;
            }
        }
        if self.peek().is_some() {
            return self.error(Code::Malformed, "text after the dictionary of the header");
        }
        let missing = |key| {
            FormatError::new(Code::Missing, Place::Byte(self.base), format!("no `{key}` in the header"))
        };
        let (dtype, big_endian) = descr.ok_or_else(|| missing("descr"))?;
        let column_major = column_major.ok_or_else(|| missing("fortran_order"))?;
        let shape = shape.ok_or_else(|| missing("shape"))?;
        Ok(ArrayHeader { dtype, shape, big_endian, column_major, data_offset })
    }

    fn string(&mut self) -> Result<&'a str, FormatError> {
        let quote = match self.peek() {
            Some(quote @ (b'\'' | b'"')) => quote,
            _ => return self.error(Code::Malformed, "expected a string in the header"),
        };
        let rest = &self.text[self.position + 1..];
        let length = rest.iter().position(|&byte| byte == quote);
        let text = length.and_then(|length| std::str::from_utf8(&rest[..length]).ok());
        match text {
            Some(text) if !text.contains(['\\', '\n']) => {
                self.position += text.len() + 2;
                Ok(text)
            }
            _ => self.error(Code::Malformed, "expected a string without escapes in the header"),
        }
    }

    /// Reads a dtype: its byte order, kind and element size.
    fn descr(&mut self) -> Result<(Dtype, bool), FormatError> {
        self.peek();
        let place = self.place();
        let text = match self.text.get(self.position) {
            Some(b'[') => return self.error(Code::Unsupported, "structured arrays are not supported"),
            _ => self.string()?,
        };
        if text.contains('O') {
            let cause = "an object array is a pickle and is never read";
            return Err(FormatError::new(Code::UnsafePickle, place, cause));
        }
        let kind = text.get(1..).unwrap_or_default();
        let dtype = match kind {
            "f8" => Some(Dtype::F64),
            "f4" => Some(Dtype::F32),
            "f2" => Some(Dtype::F16),
            "i8" => Some(Dtype::I64),
            "i4" => Some(Dtype::I32),
            "i2" => Some(Dtype::I16),
            "i1" => Some(Dtype::I8),
            "u8" => Some(Dtype::U64),
            "u4" => Some(Dtype::U32),
            "u2" => Some(Dtype::U16),
            "u1" => Some(Dtype::U8),
            "b1" => Some(Dtype::Bool),
            _ => None,
        };
        let order = text.as_bytes().first();
        match (order, dtype) {
            (Some(b'<'), Some(dtype)) => Ok((dtype, false)),
            (Some(b'>'), Some(dtype)) => Ok((dtype, true)),
            (Some(b'|'), Some(dtype)) if dtype.size() == 1 => Ok((dtype, false)),
            _ => {
                let cause = format!("the dtype `{}` is not supported", shown(text));
                Err(FormatError::new(Code::Unsupported, place, cause))
            }
        }
    }

    fn boolean(&mut self) -> Result<bool, FormatError> {
        self.peek();
        for (word, value) in [("True", true), ("False", false)] {
            if self.text[self.position..].starts_with(word.as_bytes()) {
                self.position += word.len();
                return Ok(value);
            }
        }
        self.error(Code::BadValue, "expected `True` or `False` for `fortran_order`")
    }

    /// Reads a tuple of lengths; as in Python, a single one needs its comma.
    fn shape(&mut self) -> Result<Vec<usize>, FormatError> {
        if !self.take(b'(') {
            return self.error(Code::BadValue, "expected a tuple of integers for `shape`");
        }
        let mut shape = Vec::new();
        while !self.take(b')') {
            if shape.len() == MOST_DIMENSIONS {
                return self
                    .error(Code::TooLarge, format!("a shape of more than {MOST_DIMENSIONS} dimensions"));
            }
            shape.push(self.length()?);
            if !self.take(b',') && (shape.len() == 1 || self.peek() != Some(b')')) {
                self.expect(b',')?;
            }
        }
        Ok(shape)
    }

    /// Reads a length in decimal; Python 2 appended an `L` to some.
    fn length(&mut self) -> Result<usize, FormatError> {
        self.peek();
        let rest = &self.text[self.position..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let digits = std::str::from_utf8(&rest[..count]).unwrap_or_default();
        if digits.is_empty() || digits.len() > 1 && digits.starts_with('0') {
            return self.error(Code::BadValue, "expected an integer of 0 or more in `shape`");
        }
        let Ok(length) = digits.parse() else {
            let cause = format!("a length of {count} digits in `shape` is too large");
            return self.error(Code::TooLarge, cause);
        };
        self.position += count + usize::from(rest.get(count) == Some(&b'L'));
        Ok(length)
    }
}
