//! Files whose text is checked.

/// A source file, by its path from the root.
pub struct Source {
    pub path: String,
    pub text: String,
}

impl Source {
    /// Whether only tests see the file.
    pub fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// Whether the file belongs to a published library.
    pub fn is_library(&self) -> bool {
        const LIBRARIES: [&str; 6] = ["formats", "model", "kernels", "run", "hub", "fetch"];
        !self.is_test()
            && LIBRARIES.iter().any(|name| self.path.starts_with(&format!("crates/clipway-{name}/src/")))
    }
}

/// A document, by its path from the root.
pub struct Document {
    pub path: String,
    pub text: String,
}
