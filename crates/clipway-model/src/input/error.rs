//! Why an input cannot be opened or read.

use std::io;
use std::path::{Path, PathBuf};

use clipway_formats::shown_path;

use super::Kind;

/// An input cannot be opened or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The system refuses to open or read a file.
    #[error("cannot read `{}`: {cause}", shown_path(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The path leads to something that is no regular file.
    #[error("cannot read `{}`: not a regular file but {found}", shown_path(path))]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// The path leads to a device, which has no size to check.
    #[error("cannot read `{}`: not a regular file but a device, which may never end; {} has at most {limit} bytes", shown_path(path), kind.name())]
    Endless {
        /// The path.
        path: PathBuf,
        /// What it was opened as.
        kind: Kind,
        /// Most bytes of this kind.
        limit: u64,
    },
    /// A file over the limit of its kind.
    #[error("`{}` has {size} bytes; at most {limit} are read of {}", shown_path(path), kind.name())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in words.
        size: String,
        /// What it was opened as.
        kind: Kind,
        /// Most bytes of this kind.
        limit: u64,
    },
    /// A link that leads out of the folder that it lies in.
    #[error("`{}` is a link that leaves its folder", shown_path(path))]
    Escapes {
        /// The link.
        path: PathBuf,
    },
    /// A file that changed between its first and its last reading.
    #[error("`{}` changed while it was read", shown_path(path))]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Not enough memory for a file that its limit allows.
    #[error("`{}`: no memory for its {bytes} bytes", shown_path(path))]
    NoMemory {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
}

impl InputError {
    /// Stable name of the cause.
    pub fn code(&self) -> &'static str {
        match self {
            InputError::Io { .. } | InputError::NotAFile { .. } => "io",
            InputError::Endless { .. } | InputError::TooLarge { .. } | InputError::NoMemory { .. } => {
                "too-large"
            }
            InputError::Escapes { .. } => "path-escape",
            InputError::Changed { .. } => "source-changed",
        }
    }

    /// Whether the system could not do it, as against an input that is refused for what it is.
    pub fn is_trouble(&self) -> bool {
        self.code() == "io" || matches!(self, InputError::NoMemory { .. })
    }

    /// Whether nothing lies at the path.
    pub fn is_absent(&self) -> bool {
        matches!(self, InputError::Io { cause, .. } if cause.kind() == io::ErrorKind::NotFound)
    }

    /// Whether the same file might be read at another time or by another user: too few descriptors, no permission.
    pub fn is_passing(&self) -> bool {
        use io::ErrorKind::{Interrupted, OutOfMemory, PermissionDenied, ResourceBusy};
        let InputError::Io { cause, .. } = self else { return false };
        matches!(cause.kind(), Interrupted | OutOfMemory | PermissionDenied | ResourceBusy)
            || is_out_of_descriptors(cause)
    }

    /// The message without the path, for a caller that names the file itself.
    pub fn why(&self) -> String {
        match self {
            InputError::Io { cause, .. } => cause.to_string(),
            InputError::NotAFile { found, .. } => format!("not a regular file but {found}"),
            InputError::Endless { limit, .. } => {
                format!(
                    "not a regular file but a device, which may never end; at most {limit} bytes are read"
                )
            }
            InputError::TooLarge { size, kind, limit, .. } => {
                format!("it has {size} bytes; at most {limit} are read of {}", kind.name())
            }
            InputError::Escapes { .. } => "it is a link that leaves its folder".to_owned(),
            InputError::Changed { .. } => "it changed while it was read".to_owned(),
            InputError::NoMemory { bytes, .. } => format!("no memory for its {bytes} bytes"),
        }
    }

    pub(super) fn io(path: &Path, cause: io::Error) -> InputError {
        InputError::Io { path: path.to_owned(), cause }
    }
}

/// Whether the process or the system has no descriptor left.
#[cfg(unix)]
pub(crate) fn is_out_of_descriptors(cause: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(cause), Some(Errno::MFILE | Errno::NFILE))
}

/// Whether the process has no descriptor left: other systems do not show it.
#[cfg(not(unix))]
pub(crate) fn is_out_of_descriptors(_: &io::Error) -> bool {
    false
}
