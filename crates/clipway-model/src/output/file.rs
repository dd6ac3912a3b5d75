//! A file of an output while it is being written.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::OutputError;
use super::step::{Step, StepHook};

/// A file in a temporary folder. It is written from front to back ([`Write`]), or by several threads at once, each at
/// its own offsets.
#[derive(Debug)]
pub struct StagedFile {
    file: File,
    path: PathBuf,
    hook: StepHook,
}

impl StagedFile {
    #[cfg_attr(not(test), expect(clippy::disallowed_methods, reason = "this is where outputs are created"))]
    pub(super) fn create(path: PathBuf, hook: StepHook) -> Result<StagedFile, OutputError> {
        let create = || {
            hook.before(Step::CreateFile, &path)?;
            File::options().read(true).write(true).create_new(true).open(&path)
        };
        let file = create().map_err(OutputError::io("make", &path))?;
        Ok(StagedFile { file, path, hook })
    }

    /// Path of the file in its temporary folder, to read it back.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets the length of the file, so that a full disk is noticed early if the system reports it.
    ///
    /// # Errors
    /// [`OutputError::Io`].
    pub fn set_length(&self, length: u64) -> Result<(), OutputError> {
        let set = || self.hook.before(Step::Write, &self.path).and_then(|()| self.file.set_len(length));
        set().map_err(OutputError::io("write", &self.path))
    }

    /// Writes all bytes at an offset; other threads may write elsewhere at the same time.
    ///
    /// # Errors
    /// [`OutputError::Io`].
    pub fn write_all_at(&self, offset: u64, bytes: &[u8]) -> Result<(), OutputError> {
        let write = || {
            self.hook.before(Step::Write, &self.path)?;
            write_at(&self.file, offset, bytes)
        };
        write().map_err(OutputError::io("write", &self.path))
    }

    pub(super) fn sync(&self) -> Result<(), OutputError> {
        let sync = || self.hook.before(Step::Sync, &self.path).and_then(|()| self.file.sync_all());
        sync().map_err(OutputError::io("sync", &self.path))
    }
}

impl Write for &StagedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hook.before(Step::Write, &self.path)?;
        (&self.file).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&self.file).flush()
    }
}

#[cfg(unix)]
fn write_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_at(file: &File, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, bytes, offset)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => {
                offset += count as u64;
                bytes = &bytes[count..];
            }
        }
    }
    Ok(())
}
