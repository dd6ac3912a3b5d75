//! Fills an index of image features from folders and archives, and keeps it up to date.
//!
//! [`fill`] walks folders, compares what is there with what the index knows, and runs a model on what is new: a file with
//! the same size and time is passed over, one with known bytes takes the vector of those bytes, and only the rest is
//! decoded and embedded. It commits every few seconds; whatever ends it, the index is as of a commit, and the next run
//! goes on from there.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]
// Tests create their own files.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod error;
mod found;
mod walk;
mod archive;
mod summary;
mod compare;
mod prepare;
mod fill;
mod describe;

pub use describe::describe;
pub use error::FillError;
pub use fill::{FillOptions, Progress, fill};
pub use found::{Found, Trouble};
pub use summary::Summary;
pub use walk::{WalkOptions, Walked, walk};
