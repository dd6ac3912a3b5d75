//! What the listing of a commit holds.

use std::collections::BTreeMap;

/// What names a file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// git's SHA-1 of a small file.
    Git(String),
    /// SHA-256 of a large file.
    Lfs(String),
}

impl Content {
    /// The hash, which also names the file's blob in the cache.
    pub fn hash(&self) -> &str {
        match self {
            Content::Git(hash) | Content::Lfs(hash) => hash,
        }
    }
}

/// A file of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Size in bytes.
    pub size: u64,
    /// Its content's hash.
    pub content: Content,
    /// The git hash of the file, or of an LFS file's pointer.
    pub oid: String,
    /// Hash of the Xet protocol, which is kept for the reference client.
    pub xet: Option<String>,
}

/// All files of a commit, by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The commit, 40 hexadecimal digits.
    pub commit: String,
    /// The files.
    pub files: BTreeMap<String, Entry>,
}
