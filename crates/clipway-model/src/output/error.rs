//! Why an output could not be written.

use std::io;
use std::path::{Path, PathBuf};

use clipway_formats::{shown, shown_path};

use crate::input::is_out_of_descriptors;

/// An output that was not written. The target is unchanged, unless the message says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The target exists, and replacing it was not requested.
    #[error("`{}` exists", shown_path(path))]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// Something at the target is never replaced.
    #[error("refusing to replace `{}`: {reason}", shown_path(path))]
    NotReplaceable {
        /// The target.
        path: PathBuf,
        /// What it is.
        reason: &'static str,
    },
    /// The target folder contains files that no export wrote, so it is never replaced.
    #[error("refusing to replace `{}`: {}", shown_path(path), strangers(names, *more, why.as_deref()))]
    Strangers {
        /// The target.
        path: PathBuf,
        /// Its first names, in order.
        names: Vec<String>,
        /// Number of further names.
        more: usize,
        /// Why the target's own `clipway.json` does not list what was written, if it has one.
        why: Option<String>,
    },
    /// The target and the source are the same, or one contains the other.
    #[error("the output `{}` and the source `{}` overlap", shown_path(target), shown_path(source_path))]
    OverlapsSource {
        /// The target.
        target: PathBuf,
        /// The source.
        source_path: PathBuf,
    },
    /// The target cannot be an output.
    #[error("`{}` cannot be an output: {reason}", shown_path(path))]
    BadTarget {
        /// The target.
        path: PathBuf,
        /// The reason.
        reason: &'static str,
    },
    /// The system refused an operation.
    #[error("cannot {action} `{}`: {cause}", shown_path(path))]
    Io {
        /// The operation.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
}

impl OutputError {
    /// Stable code of the error.
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

/// Describes the contents of a folder that is not replaced.
fn strangers(names: &[String], more: usize, why: Option<&str>) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{}`", shown(name))).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let why = why.map(|why| format!("; {why}")).unwrap_or_default();
    format!("it contains {}{more}, which no export wrote{why}", names.join(", "))
}
