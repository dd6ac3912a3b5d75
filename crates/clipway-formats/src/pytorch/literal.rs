//! The text forms of numbers and strings of pickle protocol 0.

use super::value::Node;

/// A line of `INT`.
pub(super) fn integer(line: &[u8]) -> Option<Node> {
    match line {
        b"00" => Some(Node::Bool(false)),
        b"01" => Some(Node::Bool(true)),
        _ => std::str::from_utf8(line).ok()?.parse().ok().map(Node::Int),
    }
}

/// A line of `LONG`, up to 128 bits; Python 2 ends it with `L`.
pub(super) fn long_line(line: &[u8]) -> Option<Node> {
    let text = std::str::from_utf8(line).ok()?;
    let value: i128 = text.strip_suffix('L').unwrap_or(text).parse().ok()?;
    Some(i64::try_from(value).map_or_else(|_| Node::Big(value.to_le_bytes().into()), Node::Int))
}

/// A line of `FLOAT`, as Python's `repr` writes it.
pub(super) fn float(line: &[u8]) -> Option<Node> {
    std::str::from_utf8(line).ok()?.parse().ok().map(Node::Float)
}

/// Bytes of `LONG1` or `LONG4`: little-endian two's complement.
pub(super) fn long(bytes: &[u8]) -> Node {
    let negative = bytes.last().is_some_and(|&top| top >= 0x80);
    if bytes.len() > 8 {
        return Node::Big(bytes.into());
    }
    let mut wide = if negative { [0xff; 8] } else { [0; 8] };
    wide[..bytes.len()].copy_from_slice(bytes);
    Node::Int(i64::from_le_bytes(wide))
}

/// Text, or bytes if they are not UTF-8, like strings of Python 2.
pub(super) fn text_or_bytes(bytes: Vec<u8>) -> Node {
    match String::from_utf8(bytes) {
        Ok(text) => Node::Text(text.into()),
        Err(error) => Node::Bytes(error.into_bytes().into()),
    }
}

/// A line of `STRING`: quoted, with Python's escapes.
pub(super) fn quoted(line: &[u8]) -> Option<Vec<u8>> {
    let (&quote, rest) = line.split_first()?;
    let (&last, inner) = rest.split_last()?;
    if quote != last || !matches!(quote, b'\'' | b'"') {
        return None;
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next()? {
            escaped @ (b'\\' | b'\'' | b'"') => escaped,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => hexadecimal(&mut bytes, 2)? as u8,
            _ => return None,
        });
    }
    Some(out)
}

/// A line of `UNICODE`: Latin-1 with `\uXXXX` and `\UXXXXXXXX`.
pub(super) fn raw_unicode(line: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(line.len());
    let mut bytes = line.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let digits = match (byte, bytes.peek()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                out.push(char::from(byte));
                continue;
            }
        };
        bytes.next();
        out.push(char::from_u32(hexadecimal(&mut bytes, digits)?)?);
    }
    Some(out)
}

fn hexadecimal(bytes: &mut impl Iterator<Item = u8>, digits: usize) -> Option<u32> {
    (0..digits).try_fold(0, |value, _| Some(value << 4 | char::from(bytes.next()?).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        fn check(line: &str, expected: &str) {
            assert_eq!(format!("{:?}", integer(line.as_bytes())), expected, "{line}");
        }
        check("12", "Some(Int(12))");
        check("-3L", "None");
        check("01", "Some(Bool(true))");
        check("00", "Some(Bool(false))");
        check("9223372036854775808", "None");
        check("abc", "None");
        check("", "None");
        check("\u{661}", "None");
    }

    #[test]
    fn long_lines() {
        fn check(line: &str, expected: &str) {
            assert_eq!(format!("{:?}", long_line(line.as_bytes())), expected, "{line}");
        }
        check("-3L", "Some(Int(-3))");
        check("3", "Some(Int(3))");
        check("18446744073709551616L", "Some(Big([0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]))");
        check("L", "None");
        check("3LL", "None");
    }

    #[test]
    fn longs() {
        fn check(bytes: &[u8], expected: &str) {
            assert_eq!(format!("{:?}", long(bytes)), expected);
        }
        check(&[], "Int(0)");
        check(&[0xff], "Int(-1)");
        check(&[0, 0x80], "Int(-32768)");
        check(&[0xe9, 3], "Int(1001)");
        check(&[0xff; 8], "Int(-1)");
        check(&[1; 9], "Big([1, 1, 1, 1, 1, 1, 1, 1, 1])");
    }

    #[test]
    fn strings() {
        fn check(line: &str, expected: Option<&str>) {
            assert_eq!(quoted(line.as_bytes()).as_deref(), expected.map(str::as_bytes), "{line}");
        }
        check("'a\\'b'", Some("a'b"));
        check("\"\\x41\\n\\\\\"", Some("A\n\\"));
        check("'a", None);
        check("'a\"", None);
        check("'\\q'", None);
        check("'\\x4'", None);
        check("'", None);
        check("", None);
    }

    #[test]
    fn unicode() {
        fn check(line: &[u8], expected: Option<&str>) {
            assert_eq!(raw_unicode(line).as_deref(), expected);
        }
        check(b"a\\u00e9\xe9\\n", Some("aéé\\n"));
        check(b"\\U0001f600", Some("😀"));
        check(b"\\ud800", None);
        check(b"\\u12", None);
        check(b"\\u12zz", None);
    }
}
