//! What a run did to an index.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

/// What a run did to an index. Every image that was found is counted once in `unchanged` to `not_read`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Images that were found.
    pub images: u64,
    /// Images with the same size and time as before, which were not opened.
    pub unchanged: u64,
    /// Of these, images that could not be read before either.
    pub still_unreadable: u64,
    /// Images whose bytes are known, from another place or from before a change of time: their vectors were reused.
    pub reused: u64,
    /// Images that the model was run on.
    pub embedded: u64,
    /// Images that cannot be read, which is recorded; they are tried again when they change.
    pub unreadable: u64,
    /// Images that could not be opened now; nothing is recorded, and the next run tries again.
    pub not_read: u64,
    /// Images of the index that are gone, and were removed from it.
    pub removed: u64,
    /// Images of the index whose folder or archive could not be walked, or is empty: they stay.
    pub kept: u64,
    /// Files in formats that cannot be read, by the ends of their names.
    pub unsupported: BTreeMap<String, u64>,
    /// Folders and archives that could not be walked.
    pub not_walked: Vec<PathBuf>,
    /// Walked folders without any entry.
    pub empty: Vec<PathBuf>,
    /// Whether it was stopped before its end; then nothing was removed.
    pub interrupted: bool,
}

impl Summary {
    /// Whether anything in the index was changed.
    pub fn has_changes(&self) -> bool {
        self.embedded + self.reused + self.unreadable + self.removed > 0
    }

    /// Whether everything that was found is in the index.
    pub fn is_whole(&self) -> bool {
        self.unreadable + self.still_unreadable + self.not_read == 0
            && self.not_walked.is_empty()
            && !self.interrupted
    }
}
