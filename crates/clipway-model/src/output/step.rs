//! The steps of writing an output, and a hook before each.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A step that changes the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Creating a lock or a temporary folder.
    Prepare,
    /// Creating a file in the temporary folder.
    CreateFile,
    /// Writing bytes to a file.
    Write,
    /// Syncing a file or a folder.
    Sync,
    /// Copying the mode of the replaced target.
    KeepMode,
    /// Renaming.
    Rename,
    /// Exchanging target and temporary folder.
    Exchange,
    /// Removing the old artifact or a temporary folder.
    Remove,
}

/// Called before every step with the path that it changes. An error counts as if the system had returned it: this is
/// how an interrupt stops a run, and how tests make any step fail.
#[derive(Clone, Default)]
pub struct StepHook(Option<Arc<HookFunction>>);

type HookFunction = dyn Fn(Step, &Path) -> io::Result<()> + Send + Sync;

impl StepHook {
    /// Makes a hook from a function.
    pub fn new(function: impl Fn(Step, &Path) -> io::Result<()> + Send + Sync + 'static) -> StepHook {
        StepHook(Some(Arc::new(function)))
    }

    /// Announces a step.
    pub(super) fn before(&self, step: Step, path: &Path) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |function| function(step, path))
    }
}

impl fmt::Debug for StepHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "StepHook(set)" } else { "StepHook(none)" })
    }
}
