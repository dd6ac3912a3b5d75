//! Where a file in the Hub's cache comes from.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

/// A commit of a repository on the Hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubPlace {
    /// `owner/name`.
    pub repository: String,
    /// The commit: 40 hexadecimal digits.
    pub commit: String,
}

impl HubPlace {
    /// Reads a path of the reference client's cache: `…/models--OWNER--NAME/snapshots/COMMIT/…`.
    pub fn of(path: &Path) -> Option<HubPlace> {
        let path = std::path::absolute(path).ok()?;
        let names: Vec<&str> = path
            .components()
            .filter_map(|component| match component {
                Component::Normal(name) => name.to_str(),
                _ => None,
            })
            .collect();
        let at = names.windows(3).rposition(|names| names[1] == "snapshots" && is_commit(names[2]))?;
        // A name of the Hub has no `--`.
        let (owner, name) = names[at].strip_prefix("models--")?.split_once("--")?;
        let is_name = |name: &str| {
            let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !name.is_empty() && !name.contains("--") && name.chars().all(is_part)
        };
        let repository = format!("{owner}/{name}");
        (is_name(owner) && is_name(name)).then(|| HubPlace { repository, commit: names[at + 2].to_owned() })
    }
}

fn is_commit(name: &str) -> bool {
    name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_snapshot_of_the_cache_has_a_place() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let check = |path: String, repository: Option<&str>| {
            let found = HubPlace::of(Path::new(&path));
            assert_eq!(found.as_ref().map(|place| place.repository.as_str()), repository, "{path}");
            assert!(found.is_none_or(|place| place.commit == commit));
        };
        check(format!("/c/hub/models--timm--a.b_c-d/snapshots/{commit}/m.bin"), Some("timm/a.b_c-d"));
        check(format!("/c/models--timm--a/snapshots/{commit}/x/y/m.bin"), Some("timm/a"));
        check(format!("/c/models--timm--a/snapshots/{}/m.bin", &commit[1..]), None);
        check(format!("/c/models--gpt2/snapshots/{commit}/m.bin"), None);
        check(format!("/c/datasets--a--b/snapshots/{commit}/m.bin"), None);
        check(format!("/c/models--a--b--c/snapshots/{commit}/m.bin"), None);
        check(format!("/c/models--timm--a/blobs/{commit}"), None);
        check("m.bin".to_owned(), None);
    }
}
