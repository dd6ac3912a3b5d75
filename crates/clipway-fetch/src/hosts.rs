//! Where images may be fetched from.

use clipway_formats::shown;

use crate::address::{Address, AddressError, default_port, name, port};

/// Allowed hosts. None by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(Vec<Rule>);

/// One scheme and port of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    is_secure: bool,
    name: String,
    /// Whether it is for the names below `name`, and not for `name`.
    is_below: bool,
    port: u16,
}

/// An allowed host that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}`: expected a name such as `images.example`, `*.images.example` for the names below it, with `:PORT` after it for \
     another port and `http://` before it for plain HTTP", shown(.found)
)]
#[non_exhaustive]
pub struct HostsError {
    /// What was found.
    pub found: String,
}

impl HostsError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        "bad-value"
    }
}

impl Hosts {
    /// Parses hosts: `NAME` allows `https://NAME` on port 443; `*.NAME` the names below it; `NAME:PORT` another port;
    /// `http://NAME` plain HTTP on port 80.
    ///
    /// # Errors
    /// [`HostsError`]. Names beyond ASCII are written in their ASCII form (`xn--…`), and IP addresses are no names.
    pub fn parse(texts: &[impl AsRef<str>]) -> Result<Hosts, HostsError> {
        let one = |text: &str| rule(text).ok_or_else(|| HostsError { found: text.to_owned() });
        texts.iter().map(|text| one(text.as_ref())).collect::<Result<_, _>>().map(Hosts)
    }

    /// Whether nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether something is fetched by TLS.
    pub(crate) fn need_certificates(&self) -> bool {
        self.0.iter().any(|rule| rule.is_secure)
    }

    /// Parses an address and checks that it is allowed.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn address(&self, text: &str) -> Result<Address, AddressError> {
        self.allow(Address::parse(text)?)
    }

    /// Checks that an address is allowed.
    pub(crate) fn allow(&self, address: Address) -> Result<Address, AddressError> {
        match self.0.iter().any(|rule| rule.covers(&address)) {
            true => Ok(address),
            false => Err(AddressError::NotAllowed { origin: address.origin() }),
        }
    }
}

impl Rule {
    fn covers(&self, address: &Address) -> bool {
        let has_name = match self.is_below {
            true => address.host.strip_suffix(&self.name).is_some_and(|rest| rest.ends_with('.')),
            false => address.host == self.name,
        };
        has_name && address.is_secure == self.is_secure && address.port == self.port
    }
}

fn rule(text: &str) -> Option<Rule> {
    let (is_secure, rest) = match text.split_once("://") {
        Some(("https", rest)) => (true, rest),
        Some(("http", rest)) => (false, rest),
        Some(_) => return None,
        None => (true, text),
    };
    let (host, port) = match rest.split_once(':') {
        Some((host, digits)) => (host, port(digits)?),
        None => (rest, default_port(is_secure)),
    };
    let (is_below, host) = host.strip_prefix("*.").map_or((false, host), |host| (true, host));
    let name = name(host)?;
    // Everything below a top-level domain is everything.
    (!is_below || name.contains('.')).then_some(Rule { is_secure, name, is_below, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_allows_one_scheme_host_and_port() {
        let check = |rule: &str, allowed: &[&str], refused: &[&str]| {
            let hosts = Hosts::parse(&[rule]).unwrap();
            for address in allowed {
                assert!(hosts.address(address).is_ok(), "{rule}: {address}");
            }
            for address in refused {
                let error = hosts.address(address).unwrap_err();
                assert!(matches!(error, AddressError::NotAllowed { .. }), "{rule}: {address}: {error}");
            }
        };
        check(
            "Images.Example.",
            &["https://images.example/a", "https://IMAGES.example.:443/a"],
            &[
                "http://images.example/a",
                "https://images.example:444/a",
                "https://a.images.example/",
                "https://evilimages.example/",
                "https://images.example.evil.example/",
            ],
        );
        check(
            "*.images.example",
            &["https://a.images.example/", "https://a.b.images.example/"],
            &["https://images.example/", "https://evilimages.example/", "https://a.images.example.org/"],
        );
        check(
            "http://images.example:8080",
            &["http://images.example:8080/"],
            &["https://images.example:8080/", "http://images.example/"],
        );
        check("https://images.example:444", &["https://images.example:444/"], &["https://images.example/"]);
    }

    #[test]
    fn rules_that_mean_nothing_are_refused() {
        for bad in [
            "",
            "*",
            "*.example",
            "*.*.images.example",
            "a.*.example",
            "images.example/a",
            "images.example:",
            "images.example:0",
            "images.example:65536",
            "ftp://images.example",
            "user@images.example",
            "127.0.0.1",
            "2130706433",
            "0x7f.1",
            "[::1]",
            "bücher.example",
            "images example",
            "-images.example",
            "images..example",
        ] {
            let error = Hosts::parse(&[bad]).unwrap_err();
            assert_eq!((error.found.as_str(), error.code()), (bad, "bad-value"));
        }
        assert!(Hosts::parse(&Vec::<String>::new()).unwrap().is_empty());
    }
}
