//! The steps of writing an output, and a hook before each.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A step that changes the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A lock or a temporary folder is made.
    Prepare,
    /// A file is made in the temporary folder.
    CreateFile,
    /// Bytes are written to a file.
    Write,
    /// A file or a folder is synced.
    Sync,
    /// The mode of what is replaced is given to what replaces it.
    KeepMode,
    /// Something is renamed.
    Rename,
    /// Target and temporary folder change places.
    Exchange,
    /// The old artifact or a temporary folder is removed.
    Remove,
}

/// Is called before every step with the path that it changes. An error is taken as if the system had given it:
/// an interrupt stops a run this way, and tests make any step fail.
#[derive(Clone, Default)]
pub struct StepHook(Option<Arc<HookFunction>>);

type HookFunction = dyn Fn(Step, &Path) -> io::Result<()> + Send + Sync;

impl StepHook {
    /// Makes a hook of a function.
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
