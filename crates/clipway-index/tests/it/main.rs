//! Integration tests.

// Tests read and write their own files.
#![allow(clippy::disallowed_methods)]

mod fill;
mod made;
mod walk;
