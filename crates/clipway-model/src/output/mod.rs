//! Writing that survives a crash: the one module through which files are written.
//!
//! Everything is written into a temporary folder beside its target, synced, and put in place by one rename.
//! Whenever the process dies, the target is the old one or the whole new one; what it leaves behind is
//! recognized by its name and its unheld lock, and removed by the next run with the same target.

mod above;
mod error;
mod file;
mod leftovers;
mod place;
mod staging;
mod step;
mod target;
#[cfg(test)]
mod tests;

pub use error::OutputError;
pub use file::StagedFile;
pub use staging::{OutputOptions, Placed, Staging};
pub use step::{Step, StepHook};
pub use target::{Listing, TargetKind, check_apart, check_outside};
