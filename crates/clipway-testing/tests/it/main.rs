//! The checks of this crate, run over what lies in the repository and, where it is there, beside it.

// Tests and chores read and write files of their own.
#![allow(clippy::disallowed_methods)]

mod manifests;
