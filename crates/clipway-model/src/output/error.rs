//! Why an output could not be written.

use std::io;
use std::path::{Path, PathBuf};

/// An output that was not written. The target is as it was before, unless the message says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// There is something at the target, and replacing it was not asked for.
    #[error("`{}` exists", .path.display())]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// There is something at the target that is never replaced.
    #[error("`{}` is not replaced: {reason}", .path.display())]
    NotReplaceable {
        /// The target.
        path: PathBuf,
        /// What it is.
        reason: &'static str,
    },
    /// The target is the source, or one lies in the other.
    #[error("the output `{}` and the source `{}` are one place, or one lies in the other", .target.display(), .source_path.display())]
    OverlapsSource {
        /// The target.
        target: PathBuf,
        /// The source.
        source_path: PathBuf,
    },
    /// The target cannot be the name of an output.
    #[error("`{}` cannot be an output: {reason}", .path.display())]
    BadTarget {
        /// The target.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// The system refused a step.
    #[error("cannot {action} `{}`: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl OutputError {
    /// Stable name of the cause.
    pub fn code(&self) -> &'static str {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match self {
            OutputError::Exists { .. } => "exists",
            OutputError::NotReplaceable { .. } => "not-replaceable",
            OutputError::OverlapsSource { .. } => "overlaps-source",
            OutputError::BadTarget { .. } => "bad-target",
            OutputError::Io { source, .. } => match source.kind() {
                FileTooLarge | QuotaExceeded | StorageFull => "no-space",
                _ => "write",
            },
        }
    }

    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OutputError {
        let path = path.to_path_buf();
        move |source| OutputError::Io { action, path, source }
    }
}
