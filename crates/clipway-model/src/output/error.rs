//! Why an output could not be written.

use std::io;
use std::path::{Path, PathBuf};

use clipway_formats::{shown, shown_path};

use crate::input::is_out_of_descriptors;

/// An output that was not written. The target is as it was before, unless the message says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// There is something at the target, and replacing it was not asked for.
    #[error("`{}` exists", shown_path(path))]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// There is something at the target that is never replaced.
    #[error("`{}` is not replaced: {reason}", shown_path(path))]
    NotReplaceable {
        /// The target.
        path: PathBuf,
        /// What it is.
        reason: &'static str,
    },
    /// The folder at the target holds what no export wrote, so it is never replaced.
    #[error("`{}` is not replaced: {}", shown_path(path), strangers(names, *more, why.as_deref()))]
    Strangers {
        /// The target.
        path: PathBuf,
        /// What is in it, the first names in their order.
        names: Vec<String>,
        /// How many there are beyond those.
        more: usize,
        /// Why the target's own `clipway.json` does not say what was written, where it has one.
        why: Option<String>,
    },
    /// The target is the source, or one lies in the other.
    #[error(
        "the output `{}` and the source `{}` are one place, or one lies in the other",
        shown_path(target),
        shown_path(source_path)
    )]
    OverlapsSource {
        /// The target.
        target: PathBuf,
        /// The source.
        source_path: PathBuf,
    },
    /// The target cannot be the name of an output.
    #[error("`{}` cannot be an output: {reason}", shown_path(path))]
    BadTarget {
        /// The target.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// The system refused a step.
    #[error("cannot {action} `{}`: {cause}", shown_path(path))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl OutputError {
    /// Stable name of the cause.
    pub fn code(&self) -> &'static str {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match self {
            OutputError::Exists { .. } => "exists",
            OutputError::NotReplaceable { .. } | OutputError::Strangers { .. } => "not-replaceable",
            OutputError::OverlapsSource { .. } => "overlaps-source",
            OutputError::BadTarget { .. } => "bad-target",
            OutputError::Io { cause, .. } => match cause.kind() {
                FileTooLarge | QuotaExceeded | StorageFull => "no-space",
                _ if is_out_of_descriptors(cause) => "io",
                _ => "write",
            },
        }
    }

    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OutputError {
        let path = path.to_path_buf();
        move |cause| OutputError::Io { action, path, cause }
    }
}

/// What is in a folder that is not replaced.
fn strangers(names: &[String], more: usize, why: Option<&str>) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{}`", shown(name))).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let why = why.map(|why| format!("; {why}")).unwrap_or_default();
    format!("it holds {}{more}, which no export wrote{why}", names.join(", "))
}
