//! The two hashes that the Hub names files by.

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::entry::Content;

/// A running hash of the kind that names a file's content.
pub(crate) enum Hasher {
    Git(Sha1),
    Lfs(Box<Sha256>),
}

impl Hasher {
    /// Starts the hash that `content` names.
    pub fn of(content: &Content, size: u64) -> Hasher {
        match content {
            Content::Git(_) => Hasher::git(size),
            Content::Lfs(_) => Hasher::Lfs(Box::default()),
        }
    }

    /// Starts git's hash of a file with `size` bytes.
    pub fn git(size: u64) -> Hasher {
        let mut hash = Sha1::new();
        hash.update(format!("blob {size}\0"));
        Hasher::Git(hash)
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Git(hash) => hash.update(bytes),
            Hasher::Lfs(hash) => hash.update(bytes),
        }
    }

    /// The hash in lowercase hexadecimal digits.
    pub fn finish(self) -> String {
        match self {
            Hasher::Git(hash) => hex(&hash.finalize()),
            Hasher::Lfs(hash) => hex(&hash.finalize()),
        }
    }
}

/// Lowercase hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_the_known_ones() {
        // `git hash-object --stdin < /dev/null`, and `sha256sum < /dev/null`.
        assert_eq!(Hasher::git(0).finish(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Hasher::of(&Content::Lfs(String::new()), 0).finish(), empty);
        // `printf hello | git hash-object --stdin`.
        let mut hash = Hasher::git(5);
        hash.update(b"hello");
        assert_eq!(hash.finish(), "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0");
    }
}
