//! The files of an index that grow in place, and the lock of their one writer.
//!
//! Everything else is written beside its target and renamed. Rows are too many to be written anew for each commit, so
//! this module alone opens files of an index for writing.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crc32fast::Hasher;

use crate::error::IndexError;
use crate::rows::{Part, StoredRow, check_length};
use crate::store::Span;

/// The lock's name.
pub(crate) const LOCK: &str = "writer.lock";

/// Bytes collected before they are written.
const BUFFER_BYTES: usize = 1 << 20;

/// Opens a file of an index for writing.
#[expect(clippy::disallowed_methods, reason = "rows grow in place, and a writer holds a lock")]
fn open(path: &Path, create: bool) -> Result<File, IndexError> {
    let metadata = path.symlink_metadata();
    if metadata.is_ok_and(|metadata| !metadata.is_file()) {
        return Err(IndexError::damaged(path, "not a regular file"));
    }
    let mut options = File::options();
    options.read(true).write(true).create(create).truncate(false);
    options.open(path).map_err(IndexError::io("open", path))
}

/// The lock of the one writer, held as long as this lives.
#[derive(Debug)]
pub(crate) struct WriterLock {
    _file: File,
}

impl WriterLock {
    /// Takes the lock of an index without waiting, and writes down this process.
    pub(crate) fn take(index: &Path) -> Result<WriterLock, IndexError> {
        let path = index.join(LOCK);
        let mut file = open(&path, true)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Some systems do not let others read a locked file.
                let _ = file.take(32).read_to_string(&mut text);
                return Err(IndexError::Locked { path: index.to_owned(), pid: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(cause)) => return Err(IndexError::io("lock", &path)(cause)),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(IndexError::io("write", &path))?;
        Ok(WriterLock { _file: file })
    }
}

/// Appends rows.
pub(crate) struct Appender {
    files: [Growing; 3],
    /// Rows committed.
    committed: u64,
    /// Rows appended since.
    fresh: u64,
    /// A write failed, so that nobody knows what the files hold.
    failed: bool,
}

/// A file that grows.
struct Growing {
    file: File,
    path: PathBuf,
    buffer: Vec<u8>,
    /// Of everything since the last commit.
    sum: Hasher,
}

impl Appender {
    /// Opens the files of an index, and cuts off what was never committed.
    pub(crate) fn open(index: &Path, width: usize, count: u64) -> Result<Appender, IndexError> {
        let [codes, scales, halves] = Part::ALL.map(|part| {
            let path = index.join(part.file());
            let mut file = open(&path, false)?;
            let found = file.metadata().map_err(IndexError::io("read", &path))?.len();
            check_length(&path, found, part, width, count)?;
            let end = count * part.row_bytes(width) as u64;
            let cut = file.set_len(end).and_then(|()| file.seek(SeekFrom::Start(end)));
            cut.map_err(IndexError::io("write", &path))?;
            Ok::<_, IndexError>(Growing { file, path, buffer: Vec::new(), sum: Hasher::new() })
        });
        Ok(Appender { files: [codes?, scales?, halves?], committed: count, fresh: 0, failed: false })
    }

    /// Appends a row, and returns its number.
    pub(crate) fn push(&mut self, row: &StoredRow) -> Result<u64, IndexError> {
        let number = self.committed + self.fresh;
        for (file, bytes) in self.files.iter_mut().zip(&row.parts) {
            file.buffer.extend_from_slice(bytes);
        }
        self.fresh += 1;
        if self.files.iter().any(|file| file.buffer.len() >= BUFFER_BYTES) {
            self.flush()?;
        }
        Ok(number)
    }

    fn flush(&mut self) -> Result<(), IndexError> {
        if self.failed {
            let cause = std::io::Error::other("an earlier write failed");
            return Err(IndexError::io("write", &self.files[0].path)(cause));
        }
        for file in &mut self.files {
            file.sum.update(&file.buffer);
            if let Err(cause) = file.file.write_all(&file.buffer) {
                self.failed = true;
                return Err(IndexError::io("write", &file.path)(cause));
            }
            file.buffer.clear();
        }
        Ok(())
    }

    /// Waits until all rows are on the disk; the new ones, if any, may then be committed.
    pub(crate) fn sync(&mut self) -> Result<Option<Span>, IndexError> {
        self.flush()?;
        if self.fresh == 0 {
            return Ok(None);
        }
        for file in &mut self.files {
            if let Err(cause) = file.file.sync_data() {
                // What a failed sync has left on the disk is unknown, and a second one would not say.
                self.failed = true;
                return Err(IndexError::io("sync", &file.path)(cause));
            }
        }
        let sums = [0, 1, 2].map(|part: usize| self.files[part].sum.clone().finalize());
        Ok(Some(Span { first: self.committed, end: self.committed + self.fresh, sums }))
    }

    /// Notes that the rows were committed.
    pub(crate) fn committed(&mut self) {
        self.committed += std::mem::take(&mut self.fresh);
        for file in &mut self.files {
            file.sum.reset();
        }
    }
}
