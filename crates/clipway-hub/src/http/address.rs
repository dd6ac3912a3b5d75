//! Addresses and their origins.

use ureq::http::Uri;

/// An absolute `http` or `https` address without user information.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(Uri);

impl Address {
    /// Parses an address.
    pub fn parse(text: &str) -> Option<Address> {
        let uri: Uri = text.parse().ok()?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_user = uri.authority()?.as_str().contains('@');
        (is_http && !has_user && uri.host().is_some_and(|host| !host.is_empty())).then_some(Address(uri))
    }

    pub fn as_str(&self) -> String {
        self.0.to_string()
    }

    pub fn is_secure(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// The host and port, for messages: the rest may be a signed secret.
    pub fn host(&self) -> String {
        clipway_formats::shown(self.0.authority().map_or("", |authority| authority.as_str()))
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> (bool, String, u16) {
        let is_secure = self.is_secure();
        let port = self.0.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        (is_secure, self.0.host().unwrap_or_default().to_ascii_lowercase(), port)
    }

    /// The address that a `Location` or a `Link` names, seen from here.
    pub fn join(&self, target: &str) -> Option<Address> {
        let target = target.split('#').next().unwrap_or_default();
        let (scheme, authority) = (self.0.scheme_str()?, self.0.authority()?);
        if target.contains("://") && !target.starts_with('/') {
            return Address::parse(target);
        }
        if target.starts_with("//") {
            return Address::parse(&format!("{scheme}:{target}"));
        }
        if target.starts_with('/') {
            return Address::parse(&format!("{scheme}://{authority}{target}"));
        }
        let path = self.0.path();
        let base = if target.starts_with('?') { path } else { &path[..=path.rfind('/')?] };
        Address::parse(&format!("{scheme}://{authority}{base}{target}"))
    }
}

/// Quotes a text for one part of a path; `/` stays if it is `safe`.
pub(crate) fn quoted(text: &str, is_slash_safe: bool) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        let is_safe =
            byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || (byte == b'/' && is_slash_safe);
        match is_safe {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_joined() {
        let base = Address::parse("https://hub.example/api/x?a=1").unwrap();
        let check = |target: &str, expected: &str| {
            assert_eq!(base.join(target).unwrap().as_str(), expected, "{target}");
        };
        check("/y", "https://hub.example/y");
        check("y#z", "https://hub.example/api/y");
        check("?b=2", "https://hub.example/api/x?b=2");
        check("//cdn.example/q", "https://cdn.example/q");
        check("http://cdn.example:81/q", "http://cdn.example:81/q");
        for bad in ["file:///etc/passwd", "https://user:word@hub.example/", "javascript://x"] {
            assert_eq!(base.join(bad), None, "{bad}");
        }
    }

    #[test]
    fn origins_differ_by_scheme_host_and_port() {
        let origin = |text: &str| Address::parse(text).unwrap().origin();
        assert_eq!(origin("https://HUB.example/a"), origin("https://hub.example:443"));
        for other in ["http://hub.example/", "https://hub.example:444/", "https://hub.example.org/"] {
            assert_ne!(origin("https://hub.example/"), origin(other), "{other}");
        }
    }

    #[test]
    fn parts_are_quoted() {
        assert_eq!(quoted("refs/pr/4", false), "refs%2Fpr%2F4");
        assert_eq!(quoted("a b/ä?#.bin", true), "a%20b/%C3%A4%3F%23.bin");
    }
}
