//! A file read at offsets, and how it is opened.

use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clipway_formats::ReadAt;

use super::stamp::Stamp;
use super::{InputError, Kind};

/// An open file, read with positioned reads.
///
/// It is deliberately not memory-mapped: when another process truncates a mapped file, the next access kills this
/// process with a signal, and no check beforehand can prevent that. A positioned read of such a file returns an error.
/// Reading from the page cache costs one copy, which the work on the bytes hides.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    size: u64,
    place: Place,
}

/// Where the bytes of a file are.
enum Place {
    Here { file: File, stamp: Stamp },
    Elsewhere(Arc<dyn ReadAt>),
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Here { file, .. } => file.fmt(f),
            Place::Elsewhere(_) => f.write_str("elsewhere"),
        }
    }
}

/// Whether to follow a link at the end of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Links {
    Followed,
    Refused,
}

impl FileSource {
    /// Opens a file like [`super::open`].
    pub(super) fn open_as(path: &Path, kind: Kind) -> Result<FileSource, InputError> {
        FileSource::check(open_file(path, Links::Followed), path.to_owned(), kind)
    }

    /// Opens the file at a link-free path; messages call it `path`.
    pub(super) fn open_real(real: &Path, path: PathBuf, kind: Kind) -> Result<FileSource, InputError> {
        FileSource::check(open_file(real, Links::Refused), path, kind)
    }

    /// Inspects what was opened.
    fn check(opened: io::Result<File>, path: PathBuf, kind: Kind) -> Result<FileSource, InputError> {
        let refuse = |cause| InputError::io(&path, cause);
        let file = opened.map_err(refuse)?;
        let metadata = file.metadata().map_err(refuse)?;
        let limit = kind.limit();
        match found(&metadata) {
            Found::File => {}
            Found::Device => return Err(InputError::Endless { path, kind, limit }),
            Found::Other(found) => return Err(InputError::NotAFile { path, found }),
        }
        let stamp = match kind {
            Kind::Weights => Stamp::settled(&file, &metadata).map_err(refuse)?,
            _ => Stamp::of(&metadata),
        };
        let size = metadata.len();
        let place = Place::Here { file, stamp };
        FileSource { path, size, place }.limited(kind)
    }

    /// A file that is not on this machine; messages call it `path`.
    pub(super) fn elsewhere(
        path: PathBuf,
        file: &Arc<dyn ReadAt>,
        kind: Kind,
    ) -> Result<FileSource, InputError> {
        FileSource { path, size: file.size(), place: Place::Elsewhere(Arc::clone(file)) }.limited(kind)
    }

    /// Refuses a file over the limit of its kind.
    fn limited(self, kind: Kind) -> Result<FileSource, InputError> {
        let (limit, size) = (kind.limit(), self.size);
        if size > limit {
            let path = self.path;
            return Err(InputError::TooLarge { path, size: size.to_string(), kind, limit });
        }
        Ok(self)
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the whole file.
    ///
    /// # Errors
    /// A system error, too little memory, or a file that changed meanwhile.
    pub fn read_all(&self) -> Result<Vec<u8>, InputError> {
        let no_memory = || InputError::NoMemory { path: self.path.clone(), bytes: self.size };
        let length = usize::try_from(self.size).map_err(|_| no_memory())?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length).map_err(|_| no_memory())?;
        bytes.resize(length, 0);
        let read = self.read_exact_at(0, &mut bytes);
        self.check_unchanged()?;
        read.map_err(|cause| InputError::io(&self.path, cause))?;
        Ok(bytes)
    }

    /// Checks that the file is unchanged since it was opened: size, times and identity. One that is elsewhere is checked
    /// by whoever reads it.
    ///
    /// # Errors
    /// [`InputError::Changed`], or a system error.
    pub fn check_unchanged(&self) -> Result<(), InputError> {
        let Place::Here { file, stamp } = &self.place else { return Ok(()) };
        let metadata = file.metadata().map_err(|cause| InputError::io(&self.path, cause))?;
        if Stamp::of(&metadata) == *stamp && metadata.len() == self.size {
            return Ok(());
        }
        Err(InputError::Changed { path: self.path.clone() })
    }

    /// Locks the file without waiting; the lock is held as long as this lives.
    pub(crate) fn try_lock(&self) -> Result<(), std::fs::TryLockError> {
        match &self.place {
            Place::Here { file, .. } => file.try_lock(),
            Place::Elsewhere(_) => Err(std::fs::TryLockError::Error(io::ErrorKind::Unsupported.into())),
        }
    }
}

impl ReadAt for FileSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match &self.place {
            Place::Here { file, .. } => read_exact_at(file, offset, buffer),
            Place::Elsewhere(file) => file.read_exact_at(offset, buffer),
        }
    }
}

/// Opens a path for reading, without blocking, whatever it leads to.
#[cfg(unix)]
#[cfg_attr(not(test), expect(clippy::disallowed_methods, reason = "this is the opener"))]
fn open_file(path: &Path, links: Links) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::fs::OFlags;

    let mut flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    flags.set(OFlags::NOFOLLOW, links == Links::Refused);
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Opens a path for reading if it leads to a regular file. The system has no non-blocking open, so the path is
/// inspected first.
#[cfg(not(unix))]
#[cfg_attr(not(test), expect(clippy::disallowed_methods, reason = "this is the opener"))]
fn open_file(path: &Path, links: Links) -> io::Result<File> {
    let metadata = if links == Links::Refused { path.symlink_metadata()? } else { path.metadata()? };
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    OpenOptions::new().read(true).open(path)
}

/// What a path leads to.
enum Found {
    File,
    Device,
    Other(&'static str),
}

fn found(metadata: &Metadata) -> Found {
    let kind = metadata.file_type();
    if kind.is_file() {
        return Found::File;
    }
    if kind.is_dir() {
        return Found::Other("a folder");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_char_device() || kind.is_block_device() {
            return Found::Device;
        }
        if kind.is_fifo() {
            return Found::Other("a pipe");
        }
    }
    Found::Other("something else")
}

#[cfg(unix)]
fn read_exact_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                buffer = &mut buffer[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
