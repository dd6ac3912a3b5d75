//! Names of repositories, revisions and files, checked before they reach a URL or a path.

use std::fmt;

use clipway_formats::shown;

use crate::HubError;

/// A model repository: `owner/name`, or a bare `name` of the Hub's oldest models.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RepoName(String);

impl RepoName {
    /// Parses a name by the Hub's rules.
    ///
    /// # Errors
    /// [`HubError::BadName`].
    pub fn parse(text: &str) -> Result<RepoName, HubError> {
        let bad = |cause| HubError::BadName { name: shown(text), cause };
        if text.split('/').count() > 2 {
            return Err(bad("expected `owner/name`"));
        }
        for part in text.split('/') {
            if part.is_empty() || part.len() > 96 {
                return Err(bad("each part has 1 to 96 characters"));
            }
            if !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
                return Err(bad("letters, digits, `-`, `_` and `.` are allowed"));
            }
            if part.starts_with(['-', '.']) || part.ends_with(['-', '.']) {
                return Err(bad("a part cannot start or end with `-` or `.`"));
            }
        }
        if text.contains("--") || text.contains("..") || text.ends_with(".git") {
            return Err(bad("`--`, `..` and a final `.git` are not allowed"));
        }
        Ok(RepoName(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The owner, if the name has one, and the last part.
    pub fn parts(&self) -> (Option<&str>, &str) {
        match self.0.split_once('/') {
            Some((owner, name)) => (Some(owner), name),
            None => (None, &self.0),
        }
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a user's `hf-hub:` or `hf://` source names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The repository.
    pub repo: RepoName,
    /// Branch, tag, commit or `refs/pr/N`; `main` if none was given.
    pub revision: Option<String>,
    /// A file or folder inside it.
    pub path: Option<String>,
}

impl Reference {
    /// Parses `hf-hub:owner/name[@revision]`, `hf://[models/]owner/name[@revision][/path]`, or `owner/name[@revision]`.
    ///
    /// ```
    /// let found = clipway_hub::Reference::parse("hf-hub:timm/vit@refs/pr/4").unwrap();
    /// assert_eq!((found.repo.as_str(), found.revision.as_deref()), ("timm/vit", Some("refs/pr/4")));
    /// ```
    ///
    /// # Errors
    /// [`HubError::BadName`].
    pub fn parse(text: &str) -> Result<Reference, HubError> {
        let bad = |cause| HubError::BadName { name: shown(text), cause };
        let (rest, may_have_path) = match (text.strip_prefix("hf://"), text.strip_prefix("hf-hub:")) {
            (Some(rest), _) => (rest.strip_prefix("models/").unwrap_or(rest), true),
            (None, rest) => (rest.unwrap_or(text), false),
        };
        if may_have_path && (rest.starts_with("datasets/") || rest.starts_with("spaces/")) {
            return Err(bad("only model repositories are read"));
        }
        let (repo, revision, path) = match rest.split_once('@') {
            Some((repo, rest)) if may_have_path => {
                let (revision, path) = split_revision(rest);
                (repo, Some(revision), path)
            }
            Some((repo, revision)) => (repo, Some(revision), None),
            None if may_have_path => {
                let cut = rest.match_indices('/').nth(1).map(|(at, _)| at);
                let (repo, path) = cut.map_or((rest, None), |at| (&rest[..at], Some(&rest[at + 1..])));
                (repo, None, path)
            }
            None => (rest, None, None),
        };
        let repo = RepoName::parse(repo.trim_end_matches('/'))?;
        if let Some(revision) = revision {
            check_revision(revision)?;
        }
        let path = path.filter(|path| !path.is_empty());
        if let Some(path) = path {
            check_path(path)?;
        }
        Ok(Reference { repo, revision: revision.map(str::to_owned), path: path.map(str::to_owned) })
    }

    /// The revision, `main` by default.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }
}

/// Splits `refs/pr/4/file` or `main/file`.
fn split_revision(text: &str) -> (&str, Option<&str>) {
    let parts = if text.starts_with("refs/") { 2 } else { 0 };
    match text.match_indices('/').nth(parts) {
        Some((at, _)) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

/// Checks that a revision is a name that git allows, which is also safe as a relative path.
///
/// # Errors
/// [`HubError::BadName`].
pub(crate) fn check_revision(text: &str) -> Result<(), HubError> {
    let is_good = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.ends_with('.')
            && part.chars().all(|c| !c.is_control() && !" ~^:?*[]\\<>|\"@".contains(c))
    };
    if text.len() <= 255 && !text.contains("..") && text.split('/').all(is_good) {
        return Ok(());
    }
    Err(HubError::BadName { name: shown(text), cause: "expected a branch, tag or commit" })
}

/// Whether a text is a whole commit id.
pub(crate) fn is_commit(text: &str) -> bool {
    is_hex(text, 40)
}

/// Whether a text has exactly this many lowercase hexadecimal digits.
pub(crate) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Checks that a repository's file name stays below its folder on every system.
///
/// # Errors
/// [`HubError::HostileName`].
pub(crate) fn check_path(path: &str) -> Result<(), HubError> {
    let is_good = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.len() <= 255
            && !part.ends_with([' ', '.'])
            && !is_device(part)
            && part.chars().all(|c| !c.is_control() && !"\\:<>|\"?*".contains(c))
    };
    if path.len() <= 1024 && path.split('/').count() <= 32 && path.split('/').all(is_good) {
        return Ok(());
    }
    Err(HubError::HostileName { name: shown(path) })
}

/// Whether Windows takes a name for a device.
fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or_default().to_ascii_uppercase();
    let numbered = |prefix: &str| {
        stem.strip_prefix(prefix)
            .is_some_and(|rest| rest.len() == 1 && rest != "0" && rest.as_bytes()[0].is_ascii_digit())
    };
    ["CON", "PRN", "AUX", "NUL"].contains(&stem.as_str()) || numbered("COM") || numbered("LPT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read() {
        let check = |text: &str, repo: &str, revision: Option<&str>, path: Option<&str>| {
            let found = Reference::parse(text).unwrap();
            assert_eq!(
                (found.repo.as_str(), found.revision.as_deref(), found.path.as_deref()),
                (repo, revision, path),
                "{text}"
            );
        };
        check("hf-hub:a/b", "a/b", None, None);
        check("hf-hub:gpt2", "gpt2", None, None);
        check("hf-hub:a/b@v1.0", "a/b", Some("v1.0"), None);
        check("hf-hub:a/b@refs/pr/4", "a/b", Some("refs/pr/4"), None);
        check("hf://a/b", "a/b", None, None);
        check("hf://models/a/b@main/x/y.json", "a/b", Some("main"), Some("x/y.json"));
        check("hf://a/b@refs/pr/12/c.bin", "a/b", Some("refs/pr/12"), Some("c.bin"));
        check("hf://a/b/c/d.bin", "a/b", None, Some("c/d.bin"));
        check("a/b@0123", "a/b", Some("0123"), None);
    }

    #[test]
    fn bad_names_are_refused() {
        for bad in [
            "hf-hub:",
            "hf-hub:a/b/c",
            "hf-hub:../b",
            "hf-hub:a/..",
            "hf-hub:a--b/c",
            "hf-hub:a/b.git",
            "hf-hub:-a/b",
            "hf-hub:a/b@",
            "hf-hub:a/b@../x",
            "hf-hub:a/b@x/../y",
            "hf-hub:a/b@x\\y",
            "hf-hub:a/b@-\u{7}",
            "hf://datasets/a/b",
            "hf://a/b/../../x",
            "hf-hub:a/b@C:x",
            "hf-hub:ä/b",
        ] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hostile_file_names_are_refused() {
        for good in ["a", "a/b.json", ".gitattributes", "ä/日本.bin", "a b/c", "console.txt", "com10"] {
            assert!(check_path(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "..",
            "../a",
            "a/../b",
            "/a",
            "a//b",
            "a/",
            "./a",
            "C:/a",
            "C:a",
            "a\\b",
            "\\\\host\\share",
            "a\0b",
            "a/..\\b",
            "nul",
            "NUL.txt",
            "x/con",
            "com1.json",
            "a.",
            "a ",
            "a:stream",
        ] {
            assert!(check_path(bad).is_err(), "{bad}");
        }
        assert!(check_path(&"a/".repeat(40)).is_err());
        assert!(check_path(&"a".repeat(256)).is_err());
    }
}
