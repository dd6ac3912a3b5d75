//! Checks of entry names.

use crate::error::{Code, FormatError, Place};

/// Maximum length of an entry name, in bytes.
const LONGEST: usize = 4096;

/// Checks a name in the directory: UTF-8, relative, in normal form, with printable characters.
pub(super) fn check(bytes: &[u8], offset: u64) -> Result<String, FormatError> {
    let refuse = |code, cause: &str| Err(FormatError::new(code, Place::Byte(offset), cause));
    if bytes.is_empty() {
        return refuse(Code::BadValue, "an entry of the archive has an empty name");
    }
    if bytes.len() > LONGEST {
        let length = bytes.len();
        return refuse(
            Code::TooLarge,
            &format!("the name of an entry has {length} bytes; the limit is {LONGEST}"),
        );
    }
    let Ok(name) = std::str::from_utf8(bytes) else {
        return refuse(Code::BadValue, "the name of an entry is not UTF-8");
    };
    let place = || Place::Entry(name.to_owned());
    if name.chars().any(|c| c.is_control() || c == '\\') {
        return Err(FormatError::new(
            Code::BadValue,
            place(),
            "the name has a control character or a backslash",
        ));
    }
    let path = name.strip_suffix('/').unwrap_or(name);
    if path.split('/').any(|part| part == "..") || name.starts_with('/') {
        return Err(FormatError::new(Code::PathEscape, place(), "the name leads outside the archive"));
    }
    if path.split('/').any(|part| part.is_empty() || part == ".") {
        return Err(FormatError::new(Code::BadValue, place(), "the name is not in normal form"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        fn name(text: &str, expected: Option<Code>) {
            assert_eq!(check(text.as_bytes(), 0).err().map(|e| e.code), expected, "{text:?}");
        }
        name("archive/data.pkl", None);
        name("a b/ü", None);
        name("folder/", None);
        name("", Some(Code::BadValue));
        name("/", Some(Code::PathEscape));
        name("/etc/passwd", Some(Code::PathEscape));
        name("a/../b", Some(Code::PathEscape));
        name("..", Some(Code::PathEscape));
        name("a//b", Some(Code::BadValue));
        name("a/./b", Some(Code::BadValue));
        name("a\\b", Some(Code::BadValue));
        name("a\u{1b}[31m", Some(Code::BadValue));
        name(&"x".repeat(LONGEST), None);
        name(&"x".repeat(LONGEST + 1), Some(Code::TooLarge));
        assert_eq!(check(b"\xff", 7).unwrap_err().place, Place::Byte(7));
    }
}
