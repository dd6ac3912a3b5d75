//! The head of a request, checked strictly before the HTTP library sees it.
//!
//! Two programs that read one head differently can be made to disagree about where a request ends (request smuggling).
//! So what some readers forgive is refused: line ends without a carriage return, folded lines, spaces before a colon,
//! two lengths, a length beside a transfer encoding, any encoding but `chunked`.

/// Where the body of a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// After this many bytes.
    Length(u64),
    /// After its last chunk.
    Chunked,
}

/// A head is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
#[non_exhaustive]
pub struct HeadError {
    /// HTTP status for the answer.
    pub status: u16,
    /// What is wrong.
    pub cause: &'static str,
}

impl HeadError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self.status {
            408 => "serve-slow",
            431 => "too-large",
            _ => "serve-bad-head",
        }
    }

    /// The whole answer, after which the connection is closed.
    pub fn answer(&self) -> Vec<u8> {
        let reason = match self.status {
            408 => "Request Timeout",
            431 => "Request Header Fields Too Large",
            505 => "HTTP Version Not Supported",
            _ => "Bad Request",
        };
        let (code, cause) = (self.code(), self.cause);
        let body = format!(
            "{{\"error\":{{\"message\":\"{cause}\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"{code}\"}}}}"
        );
        format!(
            "HTTP/1.1 {} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.status,
            body.len()
        )
        .into_bytes()
    }
}

fn bad(cause: &'static str) -> HeadError {
    HeadError { status: 400, cause }
}

/// The end of the head in `bytes`, after its empty line.
pub fn end(bytes: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(3);
    bytes.get(from..)?.windows(4).position(|four| four == b"\r\n\r\n").map(|at| from + at + 4)
}

/// Refuses what can be refused before the whole head is there: a line end without a carriage return, or a first byte
/// that starts no method, such as that of TLS.
///
/// # Errors
/// [`HeadError`] with status 400.
pub fn check_start(bytes: &[u8], searched: usize) -> Result<(), HeadError> {
    if bytes.first().is_some_and(|byte| !byte.is_ascii_uppercase()) {
        return Err(bad(
            "the request does not start with a method in capitals; this server speaks plain HTTP/1.1",
        ));
    }
    let new = searched.min(bytes.len())..bytes.len();
    if new.into_iter().any(|at| bytes[at] == b'\n' && (at == 0 || bytes[at - 1] != b'\r')) {
        return Err(bad("a line of the head ends without a carriage return"));
    }
    Ok(())
}

/// Checks a whole head, its empty line included.
///
/// # Errors
/// [`HeadError`] with status 400, or 505 for another version of HTTP.
pub fn check(head: &[u8]) -> Result<Body, HeadError> {
    let text = head.strip_suffix(b"\r\n\r\n").ok_or(bad("the head does not end with an empty line"))?;
    let mut lines = Lines(Some(text));
    let (target, is_old) = request_line(lines.next().unwrap_or_default())?;
    let (mut length, mut chunked, mut hosts, mut host) = (None, false, 0, &b""[..]);
    for line in lines {
        let (name, value) = field(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            if length.is_some() {
                return Err(bad("there is more than one Content-Length"));
            }
            length = Some(number(value).ok_or(bad("Content-Length is not a number"))?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(bad("Transfer-Encoding is something other than `chunked`"));
            }
            chunked = true;
        } else if name.eq_ignore_ascii_case(b"host") {
            (hosts, host) = (hosts + 1, value);
        }
    }
    match (length, chunked) {
        _ if !is_own(target, host) => Err(bad("the target is neither a path nor an address of the Host")),
        _ if hosts > 1 || (hosts == 0 && !is_old) => Err(bad("there is not exactly one Host")),
        (Some(_), true) => Err(bad("there are both Content-Length and Transfer-Encoding")),
        (None, true) if is_old => Err(bad("HTTP/1.0 has no Transfer-Encoding")),
        (None, true) => Ok(Body::Chunked),
        (length, false) => Ok(Body::Length(length.unwrap_or(0))),
    }
}

/// Lines, each without its CRLF.
struct Lines<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0?;
        match rest.windows(2).position(|two| two == b"\r\n") {
            Some(at) => {
                self.0 = Some(&rest[at + 2..]);
                Some(&rest[..at])
            }
            None => self.0.take(),
        }
    }
}

/// Whether a target is a path or `*`, or an address with what `Host` says: else one reader goes by the one and another by the
/// other.
fn is_own(target: &[u8], host: &[u8]) -> bool {
    if target.starts_with(b"/") || target == b"*" {
        return true;
    }
    let rest = target.strip_prefix(b"http://").and_then(|rest| rest.strip_prefix(host));
    !host.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// `METHOD SP TARGET SP HTTP/1.1`, with single spaces; the target, and whether the version is 1.0.
fn request_line(line: &[u8]) -> Result<(&[u8], bool), HeadError> {
    let parts: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = parts[..] else {
        return Err(bad("the first line is not a method, a target and a version"));
    };
    if method.is_empty() || !method.iter().all(u8::is_ascii_uppercase) || method == b"CONNECT" {
        return Err(bad("the method is not one of HTTP's"));
    }
    if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return Err(bad("the target has characters that no target has"));
    }
    match version {
        b"HTTP/1.1" => Ok((target, false)),
        b"HTTP/1.0" => Ok((target, true)),
        _ => Err(HeadError { status: 505, cause: "the version is not HTTP/1.1" }),
    }
}

/// Name and value of a field, the value without spaces around it.
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), HeadError> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(bad("a line of the head has no colon"))?;
    let (name, value) = (&line[..colon], trimmed(&line[colon + 1..]));
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if name.is_empty() || !name.iter().all(is_token) {
        return Err(bad("the name of a field has characters that no name has"));
    }
    if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(bad("the value of a field has control characters"));
    }
    Ok((name, value))
}

/// A value without the spaces and tabs around it, and nothing else.
fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn number(text: &[u8]) -> Option<u64> {
    let is_plain = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_plain)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(fields: &str) -> Result<Body, &'static str> {
        check(format!("POST /embed HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes())
            .map_err(|error| error.cause)
    }

    #[test]
    fn lengths_are_read() {
        assert_eq!(checked(""), Ok(Body::Length(0)));
        assert_eq!(checked("Content-Length: 12\r\n"), Ok(Body::Length(12)));
        assert_eq!(checked("Transfer-Encoding: Chunked\r\n"), Ok(Body::Chunked));
        assert_eq!(check(b"GET / HTTP/1.0\r\n\r\n"), Ok(Body::Length(0)));
        assert_eq!(check(b"GET http://a:1/x HTTP/1.1\r\nHost: a:1\r\n\r\n"), Ok(Body::Length(0)));
    }

    #[test]
    fn what_readers_could_disagree_about_is_refused() {
        for fields in [
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding : chunked\r\n",
            "Transfer-Encoding\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999999\r\n",
            "X: a\r\n folded\r\n",
            "Transfer-Encoding: \x0cchunked\r\n",
            "X: a\0b\r\n",
            "X: a\rb\r\n",
            "Host: b\r\n",
        ] {
            assert!(checked(fields).is_err(), "{fields:?}");
        }
        for head in [
            "POST /embed HTTP/1.1\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "get / HTTP/1.1\r\nHost: a\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://ab/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://x@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET file:///a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http:/// HTTP/1.1\r\nHost:\r\n\r\n",
            "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert!(check(head.as_bytes()).is_err(), "{head:?}");
        }
    }

    #[test]
    fn a_bare_line_end_is_refused_at_once() {
        assert!(check_start(b"GET / HTTP/1.1\nHost: a", 0).is_err());
        assert!(check_start(b"GET / HTTP/1.1\r\nHost: a", 0).is_ok());
        assert!(check_start(b"GET / HTTP/1.1\r\n", 15).is_ok());
        assert!(check_start(b"\x16\x03\x01", 0).is_err());
        assert_eq!(end(b"GET / HTTP/1.1\r\n\r\nrest", 16), Some(18));
    }
}
