//! The address of an image, read strictly.

use clipway_formats::shown;
use hyper::Uri;

/// Longest address, in bytes. Signed addresses of object stores have about 2,000.
const LONGEST: usize = 8192;

/// Longest name of a host, and longest label of one (RFC 1035).
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// `http://` or `https://`, the name of a host, and what to ask it for. There is no user information and no fragment, and the
/// host is a name: an IP address in any spelling is refused.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub(crate) is_secure: bool,
    /// In lowercase, without a dot at its end.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query.
    pub(crate) target: String,
}

/// An address is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Longer than any sound address.
    #[error("an address of an image has at most {LONGEST} bytes")]
    TooLong,
    /// A character that no address has. Spaces and letters beyond ASCII are written in percents.
    #[error("an address of an image has no spaces, backslashes, fragments or characters beyond ASCII")]
    Characters,
    /// Not an absolute address, or of another scheme.
    #[error("expected `https://HOST/…`")]
    Scheme,
    /// A user name or a password.
    #[error("an address of an image has no user name or password")]
    User,
    /// Something other than a name where the host should be, such as an IP address.
    #[error("the host must be a name of letters, digits, hyphens and dots, and no IP address")]
    Host,
    /// A port that is not a plain number.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// A scheme, host and port from which nothing is fetched.
    #[error("images of `{}` are not fetched", shown(.origin))]
    NotAllowed {
        /// Scheme, host and port.
        origin: String,
    },
}

impl AddressError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        "serve-remote-image"
    }
}

impl Address {
    /// Parses an address.
    ///
    /// # Errors
    /// Whatever two parsers could read in two ways.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        if text.len() > LONGEST {
            return Err(AddressError::TooLong);
        }
        if !has_sound_characters(text) {
            return Err(AddressError::Characters);
        }
        let uri: Uri = text.parse().map_err(|_| AddressError::Scheme)?;
        let scheme = uri.scheme_str().ok_or(AddressError::Scheme)?;
        let is_secure = match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => true,
            _ if scheme.eq_ignore_ascii_case("http") => false,
            _ => return Err(AddressError::Scheme),
        };
        let authority = uri.authority().ok_or(AddressError::Scheme)?.as_str();
        if authority.contains('@') {
            return Err(AddressError::User);
        }
        let given = uri.host().ok_or(AddressError::Host)?;
        let host = name(given).ok_or(AddressError::Host)?;
        let port = match authority.strip_prefix(given) {
            Some("") => default_port(is_secure),
            Some(rest) => {
                port(rest.strip_prefix(':').ok_or(AddressError::Host)?).ok_or(AddressError::Port)?
            }
            None => return Err(AddressError::Host),
        };
        let target = match uri.path_and_query().map_or("/", |target| target.as_str()) {
            target if target.starts_with('/') => target.to_owned(),
            query => format!("/{query}"),
        };
        Ok(Address { is_secure, host, port, target })
    }

    /// The address that a redirect from here leads to.
    ///
    /// # Errors
    /// As for [`Address::parse`]. Of relative addresses, only paths from the root are read.
    pub(crate) fn follow(&self, location: &str) -> Result<Address, AddressError> {
        match location {
            path if path.starts_with('/') && !path.starts_with("//") => {
                Address::parse(&format!("{}{path}", self.origin()))
            }
            whole => Address::parse(whole),
        }
    }

    /// Scheme, host and port, the port only if it is not the scheme's own.
    pub fn origin(&self) -> String {
        let scheme = if self.is_secure { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// Host and port, as the `Host` of a request.
    pub(crate) fn authority(&self) -> String {
        match self.port {
            port if port == default_port(self.is_secure) => self.host.clone(),
            port => format!("{}:{port}", self.host),
        }
    }
}

/// Without the path and the query, which may be a secret.
impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Address({}/…)", self.origin())
    }
}

/// The port of a scheme.
pub(crate) fn default_port(is_secure: bool) -> u16 {
    if is_secure { 443 } else { 80 }
}

/// A port in plain digits, without zeros before it.
pub(crate) fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_plain)
}

/// A name in lowercase and without a dot at its end; `None` for what is not one, and for what some resolvers take for an
/// IP address: a name whose last label is a number (RFC 1123, and the URL standard's "ends in a number").
pub(crate) fn name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    (name.len() <= LONGEST_NAME && name.split('.').all(is_label) && !is_number).then_some(name)
}

/// Whether a text has only what RFC 3986 allows, percents with two digits, and no fragment.
fn has_sound_characters(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        b'%' => bytes.get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)),
        byte => byte.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=".contains(byte),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_addresses_are_read_in_one_way() {
        let check = |text: &str, origin: &str, target: &str| {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.origin().as_str(), address.target.as_str()), (origin, target), "{text}");
        };
        check("https://images.example/a.png", "https://images.example", "/a.png");
        check("HTTPS://Images.Example./a.png", "https://images.example", "/a.png");
        check("https://images.example:443/a.png?x=1&y=%2F", "https://images.example", "/a.png?x=1&y=%2F");
        check("https://images.example", "https://images.example", "/");
        check("https://images.example?x", "https://images.example", "/?x");
        check("http://a_b.xn--bcher-kva.example:8080/", "http://a_b.xn--bcher-kva.example:8080", "/");
        check("https://images.example/@x:1/[2]", "https://images.example", "/@x:1/[2]");
        check("https://1.2.3.4.example/", "https://1.2.3.4.example", "/");
    }

    #[test]
    fn redirects_are_seen_from_where_they_are() {
        let from = Address::parse("https://images.example:444/a/b?c").unwrap();
        assert_eq!(from.follow("/d?e").unwrap(), Address::parse("https://images.example:444/d?e").unwrap());
        assert_eq!(from.follow("http://b.example/").unwrap(), Address::parse("http://b.example/").unwrap());
        for bad in ["//b.example/", "d", "?e", "../d", "/\\b.example/", "/a b", "", "file:///etc/passwd"] {
            assert!(from.follow(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_in_an_address_is_not_shown() {
        let address = Address::parse("https://images.example/a?signature=secret").unwrap();
        assert_eq!(format!("{address:?}"), "Address(https://images.example/…)");
    }
}
