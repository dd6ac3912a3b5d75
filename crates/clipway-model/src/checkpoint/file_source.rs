//! A file that is read at offsets.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use clipway_formats::ReadAt;

/// An open file, read with positioned reads.
///
/// It is not mapped into memory on purpose: when a mapped file is truncated by another process, the next access
/// kills this one with a signal, and no check beforehand can prevent that. A positioned read of such a file
/// returns an error. Reading from the page cache costs one copy, which the work on the bytes hides.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    file: PositionedFile,
    size: u64,
}

impl FileSource {
    /// Opens a regular file; pipes, devices and folders are refused before they are opened, so that nothing
    /// blocks.
    ///
    /// # Errors
    /// What the system says, or `InvalidInput` for what is not a regular file.
    pub fn open(path: &Path) -> io::Result<FileSource> {
        check_regular(&std::fs::metadata(path)?)?;
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        check_regular(&metadata)?;
        Ok(FileSource { path: path.to_owned(), file: PositionedFile::new(file), size: metadata.len() })
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl ReadAt for FileSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(offset, buffer)
    }
}

fn check_regular(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
}

#[cfg(unix)]
#[derive(Debug)]
struct PositionedFile(File);

#[cfg(unix)]
impl PositionedFile {
    fn new(file: File) -> PositionedFile {
        PositionedFile(file)
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, buffer, offset)
    }
}

#[cfg(windows)]
#[derive(Debug)]
struct PositionedFile(File);

#[cfg(windows)]
impl PositionedFile {
    fn new(file: File) -> PositionedFile {
        PositionedFile(file)
    }

    fn read_exact_at(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(&self.0, buffer, offset) {
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
}

/// Where the system has no positioned read: one reader at a time moves the file's position.
#[cfg(not(any(unix, windows)))]
#[derive(Debug)]
struct PositionedFile(std::sync::Mutex<File>);

#[cfg(not(any(unix, windows)))]
impl PositionedFile {
    fn new(file: File) -> PositionedFile {
        PositionedFile(std::sync::Mutex::new(file))
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        use std::io::{Read, Seek, SeekFrom};
        // A reader that panicked left nothing but a position, which is set anew.
        let mut file = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    }
}
