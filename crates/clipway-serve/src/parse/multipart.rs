//! `multipart/form-data` (RFC 7578) in memory, read strictly.
//!
//! The whole body is there, and clients send two or three parts: a reader of streams would be a larger dependency than
//! what it would read.

use crate::error::RequestError;

/// Most parts of a body.
const PARTS: usize = 16;

/// Most bytes of a part's head.
const HEAD: usize = 4096;

/// Longest boundary that RFC 2046 allows.
const BOUNDARY: usize = 70;

/// A part of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// Name of the field.
    pub name: String,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// The boundary that a `Content-Type` names.
pub(super) fn boundary(content_type: &str) -> Result<&str, RequestError> {
    let wrong = RequestError::Multipart("the Content-Type is not `multipart/form-data` with a boundary");
    let Some((kind, parameters)) = parameters(content_type) else { return Err(wrong) };
    let mut found = None;
    for (name, value) in parameters {
        if name.eq_ignore_ascii_case("boundary") && found.replace(value).is_some() {
            return Err(wrong);
        }
    }
    let is_good = |text: &&str| {
        (1..=BOUNDARY).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
    };
    match found.filter(is_good) {
        Some(found) if kind.eq_ignore_ascii_case("multipart/form-data") => Ok(found),
        _ => Err(wrong),
    }
}

/// The parts of a body. Two parts of one name are refused.
pub(super) fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<Part<'a>>, RequestError> {
    let first = format!("--{boundary}");
    let between = format!("\r\n--{boundary}");
    let wrong = RequestError::Multipart;
    let mut rest =
        body.strip_prefix(first.as_bytes()).ok_or(wrong("the body does not start with its boundary"))?;
    let mut parts: Vec<Part<'a>> = Vec::new();
    loop {
        if let Some(end) = rest.strip_prefix(b"--") {
            return match end {
                b"" | b"\r\n" => Ok(parts),
                _ => Err(wrong("there is something after the last part")),
            };
        }
        rest = rest.strip_prefix(b"\r\n").ok_or(wrong("a boundary is not on a line of its own"))?;
        let head = find(&rest[..rest.len().min(HEAD)], b"\r\n\r\n").ok_or(wrong("a part has no head"))?;
        let name = name(&rest[..head])?;
        rest = &rest[head + 4..];
        let end =
            find(rest, between.as_bytes()).ok_or(wrong("the last part does not end with the boundary"))?;
        if parts.len() == PARTS {
            return Err(wrong("there are too many parts"));
        }
        if parts.iter().any(|part| part.name == name) {
            return Err(wrong("two parts have the same name"));
        }
        parts.push(Part { name, bytes: &rest[..end] });
        rest = &rest[end + between.len()..];
    }
}

/// The name in the head of a part.
fn name(head: &[u8]) -> Result<String, RequestError> {
    let wrong = RequestError::Multipart("a part has no `Content-Disposition: form-data` with one name");
    let Ok(head) = std::str::from_utf8(head) else { return Err(wrong) };
    let mut found = None;
    for line in head.split("\r\n") {
        let Some((field, value)) = line.split_once(':') else { return Err(wrong) };
        if field.eq_ignore_ascii_case("content-transfer-encoding") && !is_plain(value.trim()) {
            return Err(RequestError::Multipart("a part has a Content-Transfer-Encoding"));
        }
        if !field.eq_ignore_ascii_case("content-disposition") {
            continue;
        }
        let Some((kind, parameters)) = parameters(value) else { return Err(wrong) };
        if found.is_some() || !kind.eq_ignore_ascii_case("form-data") {
            return Err(wrong);
        }
        for (name, value) in parameters {
            if name.eq_ignore_ascii_case("name") && found.replace(value.to_owned()).is_some() {
                return Err(wrong);
            }
        }
    }
    found.filter(|name| !name.is_empty()).ok_or(wrong)
}

/// Whether the bytes of a part are as they are: RFC 7578 knows no other encoding.
fn is_plain(encoding: &str) -> bool {
    ["7bit", "8bit", "binary"].iter().any(|plain| encoding.eq_ignore_ascii_case(plain))
}

/// `KIND; NAME=VALUE; NAME="VALUE"`. A value in quotes may have semicolons; one with a quote or a backslash in it is refused, since
/// readers escape them in different ways.
fn parameters(text: &str) -> Option<(&str, Vec<(&str, &str)>)> {
    let (kind, mut rest) = text.split_once(';').unwrap_or((text, ""));
    let mut found = Vec::new();
    while !rest.trim().is_empty() {
        let (name, after) = rest.split_once('=')?;
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => {
                let (value, next) = quoted.split_once('"')?;
                let next = next.trim_start();
                (value, if next.is_empty() { next } else { next.strip_prefix(';')? })
            }
            None => after.split_once(';').unwrap_or((after, "")),
        };
        let (name, value) = (name.trim(), if after.starts_with('"') { value } else { value.trim() });
        if name.contains([';', '"', ' ']) || value.contains(['"', '\\']) {
            return None;
        }
        found.push((name, value));
        rest = next;
    }
    Some((kind.trim(), found))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    // Candidates by their first byte; image data has few that go further.
    let (first, length) = (what[0], what.len());
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(|byte| *byte == first) {
        let at = from + at;
        if bytes.get(at..at + length)? == what {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "--b\r\nContent-Disposition: form-data; name=\"entries\"\r\n\r\n{}\r\n--b\r\n\
        Content-Disposition: form-data; name=\"image\"; filename=\"blob\"\r\nContent-Type: image/png\r\n\r\n\
        \r\n--a\r\n\r\n--b--\r\n";

    #[test]
    fn parts_are_read() {
        let found = parts(GOOD.as_bytes(), "b").unwrap();
        let names: Vec<(&str, &[u8])> = found.iter().map(|part| (part.name.as_str(), part.bytes)).collect();
        assert_eq!(names, [("entries", &b"{}"[..]), ("image", b"\r\n--a\r\n")]);
        assert_eq!(boundary("multipart/form-data; boundary=\"b c\"").unwrap(), "b c");
        assert_eq!(boundary("Multipart/Form-Data;Charset=utf-8; Boundary=\"b;c\"").unwrap(), "b;c");
        for (disposition, expected) in [
            ("form-data; NAME=\"text\"", "text"),
            ("form-data; name=text; filename=\"a; name=entries\"", "text"),
            ("form-data; filename=\"a; name=entries\" ; name=\"text\"", "text"),
            ("form-data; name=\"text\"; filename*=UTF-8''x", "text"),
        ] {
            assert_eq!(name(format!("Content-Disposition: {disposition}").as_bytes()).unwrap(), expected);
        }
    }

    #[test]
    fn what_readers_could_disagree_about_is_refused() {
        for (from, to) in [
            ("--b--\r\n", ""),
            ("--b--\r\n", "--b--\r\nmore"),
            ("\"image\"", "\"entries\""),
            ("name=\"image\"; ", "name=\"image\"; name=\"x\"; "),
            ("; name=\"image\"", ""),
            ("\r\n\r\n{}", "\r\n{}"),
            ("--b\r\nContent", "x--b\r\nContent"),
            ("filename=\"blob\"", "filename=\"a\\\"; name=\"entries\""),
            ("; name=\"image\"; filename=\"blob\"", "; filename=\"a; name=image\""),
            ("Content-Type: image/png", "Content-Transfer-Encoding: base64"),
        ] {
            let body = GOOD.replacen(from, to, 1);
            assert!(parts(body.as_bytes(), "b").is_err(), "{body}");
        }
        for kind in [
            "multipart/form-data",
            "multipart/mixed; boundary=b",
            "multipart/form-data; boundary=",
            "b",
            "multipart/form-data; boundary=b\"",
            "multipart/form-data; boundary=\"b",
        ] {
            assert!(boundary(kind).is_err(), "{kind}");
        }
    }
}
