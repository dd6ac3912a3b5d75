//! The one place that opens inputs: weights, configs, tokenizer files, images, texts, artifacts and locks.
//!
//! Every input is a regular file. It is opened without blocking, inspected after opening, limited in size by its
//! [`Kind`], and can be checked for changes after reading. Files beside the weights are opened through a [`Folder`],
//! which follows no link that leaves it.

mod elsewhere;
mod error;
mod file;
mod folder;
mod kind;
mod stamp;

pub use elsewhere::Elsewhere;
pub use error::InputError;
pub(crate) use error::is_out_of_descriptors;
pub use file::FileSource;
pub use folder::Folder;
pub use kind::{Kind, raise_size_limits};

use std::io::Read;
use std::path::Path;

/// The path that means standard input where a file of texts is expected.
pub const STDIN: &str = "-";

/// Opens a regular file named by the user.
///
/// # Errors
/// A system error, a path that is not a regular file, or a file over the limit of its kind.
pub fn open(path: &Path, kind: Kind) -> Result<FileSource, InputError> {
    FileSource::open_as(path, kind)
}

/// Reads a whole regular file named by the user.
///
/// # Errors
/// The errors of [`open`], and a file that changed while it was read.
pub fn read(path: &Path, kind: Kind) -> Result<Vec<u8>, InputError> {
    open(path, kind)?.read_all()
}

/// Opens a run's lock file beside an output; links are not followed.
pub(crate) fn open_lock(path: &Path) -> Result<FileSource, InputError> {
    FileSource::open_real(path, path.to_owned(), Kind::Lock)
}

/// Reads standard input to its end.
///
/// # Errors
/// A system error, or more bytes than the limit of the kind.
pub fn read_stdin(kind: Kind) -> Result<Vec<u8>, InputError> {
    read_stream(std::io::stdin().lock(), kind)
}

fn read_stream(stream: impl Read, kind: Kind) -> Result<Vec<u8>, InputError> {
    let path = Path::new(STDIN);
    let limit = kind.limit();
    let mut bytes = Vec::new();
    stream
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|cause| InputError::io(path, cause))?;
    if bytes.len() as u64 > limit {
        let size = format!("more than {limit}");
        return Err(InputError::TooLarge { path: path.to_owned(), size, kind, limit });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
