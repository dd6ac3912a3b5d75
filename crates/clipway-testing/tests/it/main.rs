//! Runs this crate's checks on the data in the repository and, if present, on the data next to it.

// Tests and tools read and write their own files.
#![allow(clippy::disallowed_methods)]

mod manifests;
