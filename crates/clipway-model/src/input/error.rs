//! Why an input cannot be opened or read.

use std::io;
use std::path::{Path, PathBuf};

use clipway_formats::shown_path;

use super::Kind;

/// An input cannot be opened or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The system cannot open or read a file.
    #[error("cannot read `{}`: {cause}", shown_path(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
    /// The path is not a regular file.
    #[error("cannot read `{}`: not a regular file but {found}", shown_path(path))]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// The path is a device, which has no size to check.
    #[error("cannot read `{}`: not a regular file but a device, which may never end; the limit for {} is {limit} bytes", shown_path(path), kind.name())]
    Endless {
        /// The path.
        path: PathBuf,
        /// The kind it was opened as.
        kind: Kind,
        /// Size limit of this kind, in bytes.
        limit: u64,
    },
    /// A file over the size limit of its kind.
    #[error("`{}` has {size} bytes; the limit is {limit} for {}", shown_path(path), kind.name())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size, in words.
        size: String,
        /// The kind it was opened as.
        kind: Kind,
        /// Size limit of this kind, in bytes.
        limit: u64,
    },
    /// A link to a place outside of its folder.
    #[error("`{}` is a link that leaves its folder", shown_path(path))]
    Escapes {
        /// The link.
        path: PathBuf,
    },
    /// A file that changed while it was read.
    #[error("`{}` changed while it was read", shown_path(path))]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Not enough memory for a file within its limit.
    #[error("`{}`: not enough memory for its {bytes} bytes", shown_path(path))]
    NoMemory {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
}

impl InputError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            InputError::Io { .. } | InputError::NotAFile { .. } => "io",
            InputError::Endless { .. } | InputError::TooLarge { .. } => "too-large",
            InputError::NoMemory { .. } => "no-memory",
            InputError::Escapes { .. } => "path-escape",
            InputError::Changed { .. } => "source-changed",
        }
    }

    /// Whether the system failed, as opposed to an input that is refused.
    pub fn is_trouble(&self) -> bool {
        matches!(self.code(), "io" | "no-memory")
    }

    /// Whether nothing exists at the path.
    pub fn is_absent(&self) -> bool {
        matches!(self, InputError::Io { cause, .. } if cause.kind() == io::ErrorKind::NotFound)
    }

    /// Whether reading might succeed at another time or for another user: too few descriptors, no permission.
    pub fn is_passing(&self) -> bool {
        use io::ErrorKind::{Interrupted, OutOfMemory, PermissionDenied, ResourceBusy};
        let InputError::Io { cause, .. } = self else { return false };
        matches!(cause.kind(), Interrupted | OutOfMemory | PermissionDenied | ResourceBusy)
            || is_out_of_descriptors(cause)
    }

    /// The message without the path, for callers that name the file themselves.
    pub fn why(&self) -> String {
        match self {
            InputError::Io { cause, .. } => cause.to_string(),
            InputError::NotAFile { found, .. } => format!("not a regular file but {found}"),
            InputError::Endless { limit, .. } => {
                format!("not a regular file but a device, which may never end; the limit is {limit} bytes")
            }
            InputError::TooLarge { size, kind, limit, .. } => {
                format!("it has {size} bytes; the limit is {limit} for {}", kind.name())
            }
            InputError::Escapes { .. } => "it is a link that leaves its folder".to_owned(),
            InputError::Changed { .. } => "it changed while it was read".to_owned(),
            InputError::NoMemory { bytes, .. } => format!("not enough memory for its {bytes} bytes"),
        }
    }

    pub(super) fn io(path: &Path, cause: io::Error) -> InputError {
        InputError::Io { path: path.to_owned(), cause }
    }
}

/// Whether the process or the system is out of descriptors.
#[cfg(unix)]
pub(crate) fn is_out_of_descriptors(cause: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(cause), Some(Errno::MFILE | Errno::NFILE))
}

/// Whether the process is out of descriptors: other systems do not show it.
#[cfg(not(unix))]
pub(crate) fn is_out_of_descriptors(_: &io::Error) -> bool {
    false
}
