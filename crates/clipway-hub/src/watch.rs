//! Whoever watches a transfer.

use std::time::Duration;

use crate::HubError;

/// Receives what happens during transfers, and may end them.
pub trait Watcher: Send + Sync {
    /// A file of `size` bytes starts, of which `done` are already here.
    fn begin(&self, _file: &str, _size: u64, _done: u64) {}
    /// More bytes of the current file arrived or were sent.
    fn advance(&self, _bytes: u64) {}
    /// The current file is complete.
    fn end(&self) {}
    /// The client waits before it tries again.
    fn wait(&self, _reason: &str, _time: Duration) {}
    /// The server has a warning. The text is escaped.
    fn warn(&self, _text: &str) {}
    /// A read of a part of a file failed, and its reader knows no more than that.
    fn fail(&self, _error: HubError) {}
    /// Whether to stop.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// A watcher that ignores everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Watcher for Quiet {}
