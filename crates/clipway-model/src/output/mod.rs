//! Writing that survives a crash: the one module through which files are written.
//!
//! Everything is written into a temporary folder beside its target, synced, and moved into place by one rename.
//! Whenever the process dies, the target is the old one or the complete new one. What it leaves behind is recognized by
//! its name and its free lock, and removed by the next run with the same target.

mod above;
mod error;
mod file;
mod leftovers;
mod live;
mod place;
mod staging;
mod step;
mod target;
#[cfg(test)]
mod tests;

pub use error::OutputError;
pub use file::StagedFile;
pub use live::InPlace;
pub(crate) use staging::is_below;
pub use staging::{OutputOptions, Placed, Staging};
pub use step::{Step, StepHook};
pub use target::{Listing, TargetKind, check_apart};
pub(crate) use target::{check_not_in_artifact, check_outside};

/// Whether this process is writing an output.
pub fn is_writing() -> bool {
    live::any()
}

/// Whether this process is changing an output where it is.
pub fn is_in_place() -> bool {
    live::any_in_place()
}

/// Removes everything temporary of every output that this process is writing, before the process ends at once. Nothing
/// is started or placed afterwards. If an output is still being placed after `wait`, nothing is removed, and the next
/// run with the same target cleans up.
pub fn abandon(wait: std::time::Duration) {
    leftovers::clear_all(wait);
}
