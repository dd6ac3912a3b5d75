//! Strict JSON, read one token at a time.

use std::borrow::Cow;

use crate::error::{Code, FormatError, Place};

/// A JSON number, in the narrowest of three types.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Unsigned(u64),
    Negative(i64),
    Float(f64),
}

/// Reads JSON text (RFC 8259, nothing more) from the front, without building a document.
///
/// A member or item is passed to the caller as soon as the reader reaches it, so a caller that knows what to expect
/// needs memory only for what it keeps. Every error has its byte offset in the file.
pub(crate) struct Reader<'a> {
    text: &'a str,
    position: usize,
    /// Offset of `text` in the file.
    base: u64,
    depth: usize,
    deepest: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`, which are at offset `base` of the file.
    pub(crate) fn new(bytes: &'a [u8], base: u64, deepest: usize) -> Result<Reader<'a>, FormatError> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let offset = base + error.valid_up_to() as u64;
            FormatError::new(Code::Malformed, Place::Byte(offset), "the JSON text is not valid UTF-8")
        })?;
        Ok(Reader { text, position: 0, base, depth: 0, deepest })
    }

    /// Offset in the file of the next byte.
    pub(crate) fn offset(&self) -> u64 {
        self.base + self.position as u64
    }

    /// An error at a byte offset of the file.
    pub(crate) fn error_at(&self, offset: u64, code: Code, cause: impl Into<String>) -> FormatError {
        FormatError::new(code, Place::Byte(offset), cause)
    }

    fn error(&self, code: Code, cause: impl Into<String>) -> FormatError {
        self.error_at(self.offset(), code, cause)
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    /// Skips whitespace and returns the first byte of the next token.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.position += 1;
        }
        self.byte()
    }

    fn unexpected(&self, expected: &str) -> FormatError {
        match self.text[self.position..].chars().next() {
            None => self.error(Code::Truncated, format!("expected {expected}, but the JSON text ends here")),
            Some(c) if c.is_ascii_graphic() && c != '`' => {
                self.error(Code::Malformed, format!("expected {expected}, found `{c}`"))
            }
            Some(c) => {
                self.error(Code::Malformed, format!("expected {expected}, found {}", c.escape_unicode()))
            }
        }
    }

    fn expect(&mut self, byte: u8, name: &str) -> Result<(), FormatError> {
        if self.peek() != Some(byte) {
            return Err(self.unexpected(name));
        }
        self.position += 1;
        Ok(())
    }

    fn enter(&mut self) -> Result<(), FormatError> {
        self.depth += 1;
        if self.depth > self.deepest {
            let cause = format!("JSON nested deeper than {} levels", self.deepest);
            return Err(self.error(Code::TooLarge, cause));
        }
        Ok(())
    }

    /// Reads an object; `member` receives each key and its offset, and must read the value.
    pub(crate) fn object<F>(&mut self, mut member: F) -> Result<(), FormatError>
    where
        F: FnMut(&mut Reader<'a>, Cow<'a, str>, u64) -> Result<(), FormatError>,
    {
        self.expect(b'{', "an object, `{`")?;
        self.enter()?;
        if self.peek() == Some(b'}') {
            self.position += 1;
        } else {
            loop {
                self.peek();
                let offset = self.offset();
                let key = self.string()?;
                self.expect(b':', "`:`")?;
                member(self, key, offset)?;
                if self.comma_or(b'}', "`,` or `}`")? {
                    break;
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads an array; `item` must read each value.
    pub(crate) fn array<F>(&mut self, mut item: F) -> Result<(), FormatError>
    where
        F: FnMut(&mut Reader<'a>) -> Result<(), FormatError>,
    {
        self.expect(b'[', "an array, `[`")?;
        self.enter()?;
        if self.peek() == Some(b']') {
            self.position += 1;
        } else {
            loop {
                item(self)?;
                if self.comma_or(b']', "`,` or `]`")? {
                    break;
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads a comma (false) or the closing byte (true).
    fn comma_or(&mut self, close: u8, name: &str) -> Result<bool, FormatError> {
        let next = self.peek();
        if next != Some(b',') && next != Some(close) {
            return Err(self.unexpected(name));
        }
        self.position += 1;
        Ok(next == Some(close))
    }

    /// Reads a string, borrowed from the text if it has no escapes.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, FormatError> {
        self.expect(b'"', "a string, `\"`")?;
        let mut owned: Option<String> = None;
        let mut start = self.position;
        loop {
            match self.byte() {
                None => return Err(self.unexpected("the end of a string, `\"`")),
                Some(b'"') => {
                    let tail = &self.text[start..self.position];
                    self.position += 1;
                    return Ok(match owned {
                        None => Cow::Borrowed(tail),
                        Some(head) => Cow::Owned(head + tail),
                    });
                }
                Some(b'\\') => {
                    let out = owned.get_or_insert_default();
                    out.push_str(&self.text[start..self.position]);
                    self.position += 1;
                    let c = self.escape()?;
                    owned.get_or_insert_default().push(c);
                    start = self.position;
                }
                Some(0..=0x1f) => {
                    return Err(self.unexpected("a character of a string (control characters are escaped)"));
                }
                Some(_) => self.position += 1,
            }
        }
    }

    /// Reads what follows a backslash.
    fn escape(&mut self) -> Result<char, FormatError> {
        let c = match self.byte() {
            Some(c @ (b'"' | b'\\' | b'/')) => char::from(c),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.position += 1;
                return self.unicode_escape();
            }
            _ => return Err(self.unexpected("a JSON escape")),
        };
        self.position += 1;
        Ok(c)
    }

    fn unicode_escape(&mut self) -> Result<char, FormatError> {
        let offset = self.offset();
        let first = self.four_digits()?;
        let lone = "a lone surrogate in a JSON string";
        let code = match first {
            0xd800..=0xdbff => {
                if !self.text[self.position..].starts_with("\\u") {
                    return Err(self.error_at(offset, Code::Malformed, lone));
                }
                self.position += 2;
                let second = self.four_digits()?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err(self.error_at(offset, Code::Malformed, lone));
                }
                0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            _ => first,
        };
        char::from_u32(code).ok_or_else(|| self.error_at(offset, Code::Malformed, lone))
    }

    fn four_digits(&mut self) -> Result<u32, FormatError> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.byte().and_then(|b| char::from(b).to_digit(16));
            let Some(digit) = digit else {
                return Err(self.unexpected("a hexadecimal digit"));
            };
            value = value * 16 + digit;
            self.position += 1;
        }
        Ok(value)
    }

    fn digits(&mut self) -> Result<(), FormatError> {
        if !self.byte().is_some_and(|b| b.is_ascii_digit()) {
            return Err(self.unexpected("a digit"));
        }
        while self.byte().is_some_and(|b| b.is_ascii_digit()) {
            self.position += 1;
        }
        Ok(())
    }

    /// Reads a number that fits a 64-bit integer or a finite 64-bit float.
    pub(crate) fn number(&mut self) -> Result<Number, FormatError> {
        if !matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
            return Err(self.unexpected("a number"));
        }
        let (start, offset) = (self.position, self.offset());
        let negative = self.byte() == Some(b'-');
        if negative {
            self.position += 1;
        }
        if self.byte() == Some(b'0') {
            self.position += 1;
            if self.byte().is_some_and(|b| b.is_ascii_digit()) {
                return Err(self.unexpected("no digit after a leading zero"));
            }
        } else {
            self.digits()?;
        }
        let mut integer = true;
        if self.byte() == Some(b'.') {
            integer = false;
            self.position += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            integer = false;
            self.position += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.position += 1;
            }
            self.digits()?;
        }
        let text = &self.text[start..self.position];
        let number = if !integer || text == "-0" {
            text.parse().ok().filter(|value: &f64| value.is_finite()).map(Number::Float)
        } else if negative {
            text.parse().ok().map(Number::Negative)
        } else {
            text.parse().ok().map(Number::Unsigned)
        };
        number.ok_or_else(|| {
            let cause = format!("a number of {} characters does not fit into 64 bits", text.len());
            self.error_at(offset, Code::BadValue, cause)
        })
    }

    /// Reads an integer from 0 to 2^64 - 1.
    pub(crate) fn unsigned(&mut self) -> Result<u64, FormatError> {
        self.peek();
        let offset = self.offset();
        match self.number()? {
            Number::Unsigned(value) => Ok(value),
            Number::Negative(value) => {
                let cause = format!("expected an integer of 0 or more, found {value}");
                Err(self.error_at(offset, Code::BadValue, cause))
            }
            Number::Float(value) => {
                let cause = format!("expected an integer, found {value:?}");
                Err(self.error_at(offset, Code::BadValue, cause))
            }
        }
    }

    /// Reads `true`, `false` or `null`.
    pub(crate) fn literal(&mut self) -> Result<Option<bool>, FormatError> {
        self.peek();
        let rest = &self.text[self.position..];
        for (word, value) in [("true", Some(true)), ("false", Some(false)), ("null", None)] {
            if rest.starts_with(word) {
                self.position += word.len();
                return Ok(value);
            }
        }
        Err(self.unexpected("a JSON value"))
    }

    /// Checks that only whitespace is left.
    pub(crate) fn end(&mut self) -> Result<(), FormatError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("nothing after the JSON value")),
        }
    }
}
