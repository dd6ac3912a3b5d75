//! A blocking client for the Hugging Face Hub: pulls repositories, verified and resumable, into the cache that the
//! reference client uses, and pushes folders.
//!
//! This is the only crate that reaches the network, and it does so only for a [`Hub`] that is not offline. Every hash
//! is known before the first byte of a file is fetched, and no file gets its name before it matches. Everything that a
//! server answers is bounded and checked.

#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod name;
mod settings;
mod error;
mod watch;
mod http;
mod entry;
mod tree;
mod hash;
mod cache;
mod transfer;
mod choose;
mod pull;
mod distant;
mod told;
mod push;
mod commit;
mod upload;

pub use cache::{Cache, CachedRepository};
pub use choose::{Choice, Wanted};
pub use distant::Distant;
pub use entry::{Content, Entry, Tree};
pub use error::HubError;
pub use name::{Reference, RepoName};
pub use pull::{Hub, Pulled, PulledFile};
pub use push::{PushContent, PushFile, PushOptions, PushPlan, PushState};
pub use settings::{Settings, Token};
pub use transfer::{Fetched, Transfer};
pub use watch::{Quiet, Watcher};
