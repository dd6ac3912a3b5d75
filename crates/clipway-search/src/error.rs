//! Why an index cannot be read, written or searched.

use std::io;
use std::path::{Path, PathBuf};

use clipway_formats::{shown, shown_path};
use clipway_model::input::InputError;
use clipway_model::output::OutputError;

/// An index that cannot be read, written or searched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// A file of the index cannot be opened or read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A file of the index cannot be created.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A folder that is no index.
    #[error("`{}` is not an index: {reason}", shown_path(path))]
    NotAnIndex {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// An index of another version of the format.
    #[error(
        "`{}` has version {found} of the format; this program reads version {expected}",
        shown_path(path)
    )]
    Version {
        /// The file that says so.
        path: PathBuf,
        /// The version found.
        found: u64,
        /// The version that is supported.
        expected: u64,
    },
    /// A file of the index contradicts itself or the others.
    #[error("`{}` is damaged: {reason}", shown_path(path))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was expected and found.
        reason: String,
    },
    /// Another process is writing to the index.
    #[error("`{}` is locked: {} is writing to it", shown_path(path), holder(*pid))]
    Locked {
        /// The index.
        path: PathBuf,
        /// The process that holds the lock, if it is known.
        pid: Option<u32>,
    },
    /// A size over a limit of the format.
    #[error("{what}: {found} is over the limit of {limit}")]
    TooLarge {
        /// What was measured.
        what: &'static str,
        /// Its size.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A feature, or queries, of another width.
    #[error("expected {expected} values, the width of the index, found {found}")]
    Width {
        /// The width of the index, or a multiple of it.
        expected: usize,
        /// The number of values.
        found: usize,
    },
    /// A feature that has no direction.
    #[error("{what} cannot be scaled to length 1: it is zero, or has a NaN or an infinity")]
    NotFinite {
        /// The feature.
        what: String,
    },
    /// An item that says too little or too much.
    #[error("`{}`: {reason}", shown(path))]
    BadItem {
        /// The path of the item.
        path: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Two embedding spaces that must be the same.
    #[error(
        "the index has features of {ours}, which those of {theirs} cannot be compared with: {differences}"
    )]
    OtherSpace {
        /// The model of the index.
        ours: String,
        /// The other model.
        theirs: String,
        /// What differs.
        differences: String,
    },
    /// A filter or a query that means nothing.
    #[error("{reason}")]
    BadQuery {
        /// What is wrong.
        reason: String,
    },
    /// The system refused an operation.
    #[error("cannot {action} `{}`: {cause}", shown_path(path))]
    Io {
        /// The operation.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
}

/// Who holds a lock.
fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl IndexError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match self {
            IndexError::Input(error) => error.code(),
            IndexError::Output(error) => error.code(),
            IndexError::NotAnIndex { .. } => "unknown-format",
            IndexError::Version { .. } => "unsupported",
            IndexError::Damaged { .. } => "malformed",
            IndexError::Locked { .. } => "locked",
            IndexError::TooLarge { .. } => "too-large",
            IndexError::Width { .. } => "shape-mismatch",
            IndexError::NotFinite { .. } => "not-finite",
            IndexError::BadItem { .. } => "bad-value",
            IndexError::OtherSpace { .. } => "other-space",
            IndexError::BadQuery { .. } => "bad-option",
            IndexError::Io { .. } if self.is_reading() => "io",
            IndexError::Io { cause, .. } => match cause.kind() {
                FileTooLarge | QuotaExceeded | StorageFull => "no-space",
                _ => "write",
            },
        }
    }

    /// Whether the system refused to read.
    fn is_reading(&self) -> bool {
        matches!(self, IndexError::Io { action: "read", .. })
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IndexError {
        let path = path.to_path_buf();
        move |cause| IndexError::Io { action, path, cause }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> IndexError {
        IndexError::Damaged { path: path.to_path_buf(), reason: reason.into() }
    }
}
