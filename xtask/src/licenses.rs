//! Dependency rules: only packages from the registry, with permissive licenses, that cannot access the network and
//! build with the oldest Rust that this workspace supports.

use std::collections::HashMap;
use std::process::Command;

use serde::Deserialize;

use crate::demo::root;
use crate::outcome::{Outcome, tell};

/// Permitted licenses by SPDX name; a package needs one of them.
const PERMITTED: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "IJG",
    "ISC",
    "MIT",
    "NCSA",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Packages through which crates of the repository use the network, with these crates. `clipway-hub` and `clipway-fetch`
/// reach out and never listen; `clipway-serve` listens, and reaches out through `clipway-fetch` alone.
const NETWORK: [(&str, &[&str]); 3] = [
    ("clipway-hub", &["rustls", "rustls-native-certs", "ureq"]),
    (
        "clipway-fetch",
        &["hyper", "hyper-util", "mio", "rustls", "rustls-native-certs", "socket2", "tokio", "tokio-rustls"],
    ),
    ("clipway-serve", &["hyper", "hyper-util", "mio", "socket2", "tokio"]),
];

/// Features of these packages that make them a client of their own: one that resolves names, follows redirects, or reads
/// proxies from the environment.
const CLIENTS: [(&str, &[&str]); 1] =
    [("hyper-util", &["client", "client-legacy", "client-proxy", "client-pool"])];

/// Packages through which a program or its build could reach the network.
const BANNED: [&str; 11] = [
    "attohttpc",
    "curl",
    "curl-sys",
    "git2",
    "hf-hub",
    "isahc",
    "minreq",
    "native-tls",
    "openssl-sys",
    "reqwest",
    "surf",
];

/// Manifests whose packages are checked.
const MANIFESTS: [&str; 2] = ["Cargo.toml", "fuzz/Cargo.toml"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

/// What is built: features that are on, and dependencies that are used.
#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    #[serde(default)]
    dependencies: Vec<String>,
    #[serde(default)]
    features: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    rust_version: Option<String>,
    /// Names of the packages that it uses as it is built.
    #[serde(skip)]
    uses: Vec<String>,
    /// Its features that are on.
    #[serde(skip)]
    features_on: Vec<String>,
}

impl Metadata {
    /// The packages, with what they use as they are built: what is only for their own tests does not count.
    fn resolved(self) -> Vec<Package> {
        let Metadata { mut packages, resolve } = self;
        let names: HashMap<String, String> =
            packages.iter().map(|package| (package.id.clone(), package.name.clone())).collect();
        let mut nodes: HashMap<String, Node> =
            resolve.nodes.into_iter().map(|node| (node.id.clone(), node)).collect();
        for package in &mut packages {
            let Some(node) = nodes.remove(&package.id) else { continue };
            package.uses = node.dependencies.iter().filter_map(|id| names.get(id).cloned()).collect();
            package.features_on = node.features;
        }
        packages
    }
}

/// Checks every locked package.
pub fn run() -> Result<bool, String> {
    let mut outcomes = Vec::new();
    for manifest in MANIFESTS {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--locked", "--manifest-path"])
            .arg(root().join(manifest))
            .output()
            .map_err(|error| format!("cargo: {error}"))?;
        if !output.status.success() {
            return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        let metadata: Metadata = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
        let packages = metadata.resolved();
        let wrong: Vec<String> =
            packages.iter().filter_map(|package| problem(package, OLDEST_RUST)).collect();
        let detail = match wrong.len() {
            0 => format!("{} packages", packages.len()),
            _ => wrong.join("\n  "),
        };
        outcomes.push(Outcome { name: manifest.to_owned(), passed: wrong.is_empty(), detail });
    }
    Ok(tell(outcomes))
}

/// The oldest Rust that builds the workspace.
const OLDEST_RUST: &str = env!("CARGO_PKG_RUST_VERSION");

/// Describes what is wrong with a package; `oldest` is the oldest Rust that must build it.
fn problem(package: &Package, oldest: &str) -> Option<String> {
    let Package { name, version, license, source, rust_version, uses, features_on, .. } = package;
    let refuse = |cause: String| Some(format!("{name} {version}: {cause}"));
    // Packages of the repository itself have no source.
    if let Some(source) = source
        && !source.starts_with("registry+")
    {
        return refuse(format!("comes from `{source}`, not from a registry"));
    }
    if BANNED.contains(&name.as_str()) {
        return refuse("can reach the network".to_owned());
    }
    for used in uses {
        let users = NETWORK.iter().filter(|(_, network)| network.contains(&used.as_str()));
        let users: Vec<_> = users.collect();
        let may_use = |(owner, network): &&(&str, &[&str])| name == owner || network.contains(&name.as_str());
        if !users.is_empty() && !users.iter().any(may_use) {
            let owners: Vec<String> = users.iter().map(|(owner, _)| format!("`{owner}`")).collect();
            return refuse(format!("uses `{used}`, which only {} may", owners.join(" and ")));
        }
    }
    let clients = CLIENTS.iter().filter(|(client, _)| client == name).flat_map(|(_, features)| *features);
    if let Some(feature) = clients.into_iter().find(|feature| features_on.iter().any(|on| on == **feature)) {
        return refuse(format!("its feature `{feature}` reaches out to the network"));
    }
    if let Some(needed) = rust_version
        && release(needed) > release(oldest)
    {
        return refuse(format!("needs Rust {needed}, and the workspace supports {oldest}"));
    }
    match license {
        Some(license) if is_permitted(license) => None,
        Some(license) => refuse(format!("the license `{license}` is not permitted")),
        None => refuse("states no license".to_owned()),
    }
}

/// Parses a Rust version: 1.90 is 1.90.0. Anything that is not a number counts as newer than any.
fn release(version: &str) -> [u32; 3] {
    let mut numbers = [0; 3];
    for (number, part) in numbers.iter_mut().zip(version.split('.')) {
        *number = part.parse().unwrap_or(u32::MAX);
    }
    numbers
}

/// Returns whether an expression can be met with permitted licenses only. `/` is an old spelling of `OR`.
fn is_permitted(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Expression { words: &words };
    reader.any() && reader.words.is_empty()
}

/// The rest of an expression; `AND` binds tighter than `OR`.
struct Expression<'a> {
    words: &'a [&'a str],
}

impl Expression<'_> {
    fn take(&mut self, word: &str) -> bool {
        let is_next = self.words.first() == Some(&word);
        self.words = &self.words[usize::from(is_next)..];
        is_next
    }

    fn any(&mut self) -> bool {
        let mut permitted = self.all();
        while self.take("OR") {
            permitted |= self.all();
        }
        permitted
    }

    fn all(&mut self) -> bool {
        let mut permitted = self.one();
        while self.take("AND") {
            permitted &= self.one();
        }
        permitted
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            let permitted = self.any();
            return self.take(")") && permitted;
        }
        let Some((name, rest)) = self.words.split_first() else { return false };
        self.words = rest;
        let mut name = (*name).to_owned();
        if self.take("WITH")
            && let Some((exception, rest)) = self.words.split_first()
        {
            self.words = rest;
            name = format!("{name} WITH {exception}");
        }
        PERMITTED.contains(&name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_understood() {
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
            "MIT OR GPL-2.0 AND ISC",
        ] {
            assert!(is_permitted(good), "{good}");
        }
        for bad in
            ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT)", "MPL-2.0 OR", "MIT ISC", "GPL-2.0 WITH x"]
        {
            assert!(!is_permitted(bad), "{bad}");
        }
    }

    #[test]
    fn packages_are_refused() {
        let package = |name: &str, license: Option<&str>, source: Option<&str>| Package {
            id: name.to_owned(),
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: license.map(str::to_owned),
            source: source.map(str::to_owned),
            rust_version: None,
            uses: Vec::new(),
            features_on: Vec::new(),
        };
        let problem = |package: &Package| problem(package, "1.90");
        let registry = Some("registry+https://example.org");
        assert_eq!(problem(&package("a", Some("MIT"), registry)), None);
        assert_eq!(problem(&package("a", Some("MIT"), None)), None);
        for bad in [
            package("a", None, registry),
            package("a", Some("AGPL-3.0"), registry),
            package("a", Some("MIT"), Some("git+https://example.org/a")),
            package("reqwest", Some("MIT"), registry),
        ] {
            assert!(problem(&bad).is_some(), "{}", bad.name);
        }
        for (name, used, feature, refused) in [
            ("clipway-hub", "rustls", "", false),
            ("clipway-run", "rustls", "", true),
            ("ureq", "rustls", "", false),
            ("clipway-serve", "tokio", "", false),
            ("clipway-hub", "tokio", "", true),
            ("clipway-serve", "ureq", "", true),
            ("hyper-util", "tokio", "tokio", false),
            ("hyper", "tokio", "server", false),
            ("clipway-fetch", "tokio-rustls", "", false),
            ("clipway-serve", "tokio-rustls", "", true),
            ("clipway-serve", "rustls", "", true),
            ("clipway-fetch", "ureq", "", true),
            ("hyper", "tokio", "client", false),
            ("hyper-util", "hyper", "client-legacy", true),
        ] {
            let (uses, features_on) = (vec![used.to_owned()], vec![feature.to_owned()]);
            let package = Package { uses, features_on, ..package(name, Some("MIT"), None) };
            assert_eq!(problem(&package).is_some(), refused, "{name}: {used} {feature}");
        }
        for (needed, refused) in
            [("1.63", false), ("1.90", false), ("1.90.0", false), ("1.90.1", true), ("1.100", true)]
        {
            let package =
                Package { rust_version: Some(needed.to_owned()), ..package("a", Some("MIT"), registry) };
            assert_eq!(problem(&package).is_some(), refused, "{needed}");
        }
    }
}
