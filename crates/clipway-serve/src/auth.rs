//! API keys, and which `Host` and `Origin` are this server's.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HOST, ORIGIN};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::RequestError;

/// Fewest characters of a key.
const SHORTEST: usize = 16;

/// API keys. Only their hashes are kept.
#[derive(Clone, Default)]
pub struct Keys(Vec<[u8; 32]>);

/// A file of keys is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// A key that is too short, or has characters that no header takes.
    #[error("line {line}: expected a key of at least {SHORTEST} visible ASCII characters")]
    BadKey {
        /// Line, from 1.
        line: usize,
    },
    /// No keys.
    #[error("there are no keys")]
    Empty,
}

impl KeysError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            KeysError::BadKey { .. } => "bad-value",
            KeysError::Empty => "missing",
        }
    }
}

impl Keys {
    /// Reads keys, one per line; empty lines and those that start with `#` are skipped.
    ///
    /// # Errors
    /// A key that is too short or not visible ASCII, and no keys.
    pub fn read(text: &str) -> Result<Keys, KeysError> {
        let mut keys = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let key = line.trim();
            if key.is_empty() || key.starts_with('#') {
                continue;
            }
            if key.len() < SHORTEST || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(KeysError::BadKey { line: number + 1 });
            }
            keys.push(Sha256::digest(key).into());
        }
        if keys.is_empty() { Err(KeysError::Empty) } else { Ok(Keys(keys)) }
    }

    /// Whether requests need a key.
    pub fn are_needed(&self) -> bool {
        !self.0.is_empty()
    }

    /// Checks the key of a request. The time does not depend on which key it is, nor on how much of it is right.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), RequestError> {
        if !self.are_needed() {
            return Ok(());
        }
        let bearer = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().split_first_chunk::<7>());
        let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer ")).map(|(_, key)| key);
        let key = bearer.or_else(|| headers.get("x-api-key").map(|value| value.as_bytes()));
        let given: [u8; 32] = Sha256::digest(key.unwrap_or_default().trim_ascii()).into();
        let found = self.0.iter().fold(subtle::Choice::from(0), |found, one| found | one.ct_eq(&given));
        if key.is_some() && bool::from(found) { Ok(()) } else { Err(RequestError::Unauthorized) }
    }
}

/// Names under which browsers may reach the server.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    names: Vec<String>,
    /// Whether any other `Host` is refused.
    strict: bool,
}

impl Hosts {
    /// On a loopback address only loopback names are the server's, and those given: a page elsewhere cannot point its own
    /// name here (DNS rebinding).
    pub fn of(address: IpAddr, given: &[String]) -> Hosts {
        let mut names: Vec<String> = given.iter().map(|name| name.to_ascii_lowercase()).collect();
        let strict = address.is_loopback() || !names.is_empty();
        names.extend(["localhost".to_owned(), "127.0.0.1".to_owned(), "[::1]".to_owned()]);
        names.push(if address.is_ipv6() { format!("[{address}]") } else { address.to_string() });
        Hosts { names, strict }
    }

    /// Checks `Host`, and that a page that sends a request is this server's own.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), RequestError> {
        let refuse = |header, value: &[u8]| {
            Err(RequestError::Host { header, found: clipway_formats::shown(&String::from_utf8_lossy(value)) })
        };
        let host = headers.get(HOST).map_or(&b""[..], |value| value.as_bytes()).to_ascii_lowercase();
        if self.strict && !host.is_empty() && !self.knows(&host) {
            return refuse("Host", &host);
        }
        let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
        let origin = origin.as_bytes().to_ascii_lowercase();
        let page = [&b"http://"[..], b"https://"].iter().find_map(|scheme| origin.strip_prefix(*scheme));
        match page {
            Some(page) if page == host || (self.strict && self.knows(page)) => Ok(()),
            _ => refuse("Origin", &origin),
        }
    }

    /// Whether a host is the server's, whatever its port.
    fn knows(&self, host: &[u8]) -> bool {
        let end = match host.first() {
            Some(b'[') => host.iter().position(|byte| *byte == b']').map_or(host.len(), |at| at + 1),
            _ => host.iter().position(|byte| *byte == b':').unwrap_or(host.len()),
        };
        let (name, port) = host.split_at(end);
        let is_port = |port: &[u8]| port.first() == Some(&b':') && port[1..].iter().all(u8::is_ascii_digit);
        (port.is_empty() || is_port(port)) && self.names.iter().any(|known| known.as_bytes() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn keys_are_compared_whole() {
        let keys = Keys::read("# a comment\n\nfirst-key-0123456789\nsecond-key-0123456789\n").unwrap();
        let check = |name, value: &str| keys.check(&headers(&[(name, value)])).is_ok();
        assert!(check("authorization", "Bearer first-key-0123456789"));
        assert!(check("authorization", "bearer second-key-0123456789"));
        assert!(check("x-api-key", "second-key-0123456789"));
        for (name, value) in [
            ("authorization", "Bearer "),
            ("authorization", "first-key-0123456789"),
            ("authorization", "Basic first-key-0123456789"),
            ("authorization", "Bearer first-key-012345678"),
            ("authorization", "Bearer first-key-01234567890"),
            ("x-api-key", ""),
            ("cookie", "first-key-0123456789"),
        ] {
            assert!(!check(name, value), "{name}: {value}");
        }
        assert!(Keys::default().check(&HeaderMap::new()).is_ok());
    }

    #[test]
    fn files_of_keys_are_read_strictly() {
        let error = |text: &str| Keys::read(text).err().map(|error| error.code());
        assert_eq!(error(""), Some("missing"));
        assert_eq!(error("# only a comment"), Some("missing"));
        assert_eq!(error("short"), Some("bad-value"));
        assert_eq!(error("a key with spaces in it"), Some("bad-value"));
    }

    #[test]
    fn hosts_of_a_loopback_address_are_loopback() {
        let hosts = Hosts::of("127.0.0.1".parse().unwrap(), &["Clip.Example".to_owned()]);
        for good in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:80", "clip.example"] {
            assert!(hosts.check(&headers(&[("host", good)])).is_ok(), "{good}");
        }
        for bad in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil:80", "[::1]evil", "localhost:80@evil"]
        {
            assert!(hosts.check(&headers(&[("host", bad)])).is_err(), "{bad}");
        }
        let from =
            |origin: &str| hosts.check(&headers(&[("host", "localhost:1"), ("origin", origin)])).is_ok();
        assert!(from("http://localhost:1"));
        assert!(from("https://clip.example"));
        assert!(!from("http://evil.example") && !from("null") && !from("http://localhost:1.evil"));
    }

    #[test]
    fn elsewhere_a_page_must_be_the_servers_own() {
        let hosts = Hosts::of("0.0.0.0".parse().unwrap(), &[]);
        let from =
            |host: &str, origin: &str| hosts.check(&headers(&[("host", host), ("origin", origin)])).is_ok();
        assert!(from("clip.example", "https://clip.example"));
        assert!(!from("clip.example", "https://evil.example"));
        assert!(hosts.check(&headers(&[("host", "anything")])).is_ok());
    }
}
