//! Weight files that are not on this machine, and are read in parts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use clipway_formats::ReadAt;

/// Files by name that a folder does not hold itself, such as those of a repository on the Hub.
#[derive(Clone, Default)]
pub struct Elsewhere(BTreeMap<String, Arc<dyn ReadAt>>);

impl Elsewhere {
    /// Adds a file.
    pub fn add(&mut self, name: impl Into<String>, file: Arc<dyn ReadAt>) {
        self.0.insert(name.into(), file);
    }

    /// The file with a name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn ReadAt>> {
        self.0.get(name)
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl PartialEq for Elsewhere {
    fn eq(&self, other: &Elsewhere) -> bool {
        let pairs = || self.0.iter().zip(&other.0);
        self.0.len() == other.0.len() && pairs().all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(a.1, b.1))
    }
}

impl Eq for Elsewhere {}
