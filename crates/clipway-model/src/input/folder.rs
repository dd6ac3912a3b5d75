//! A folder of inputs: nothing in it is followed out of it.

use std::path::{Path, PathBuf};

use super::{FileSource, InputError, Kind};

/// A folder, and the place that it really is.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    real: PathBuf,
}

impl Folder {
    /// Opens a folder; an empty path is the current one.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> Result<Folder, InputError> {
        let path = if path == Path::new("") { Path::new(".") } else { path };
        let real = path.canonicalize().map_err(|cause| InputError::io(path, cause))?;
        Ok(Folder { path: path.to_owned(), real })
    }

    /// Opens the folder of weights that may exist in memory alone: a folder that does not exist holds nothing.
    ///
    /// # Errors
    /// What the system says, but for an absent folder.
    pub fn open_if_any(path: &Path) -> Result<Folder, InputError> {
        match Folder::open(path) {
            Err(InputError::Io { path, cause }) if cause.kind() == std::io::ErrorKind::NotFound => {
                Ok(Folder { real: path.clone(), path })
            }
            opened => opened,
        }
    }

    /// The folder that a file lies in.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(file: &Path) -> Result<Folder, InputError> {
        Folder::open(file.parent().unwrap_or(Path::new("")))
    }

    /// The path as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is anything of this name, be it a file, a folder or a link that leads nowhere.
    pub fn has(&self, name: &str) -> bool {
        self.path.join(name).symlink_metadata().is_ok()
    }

    /// Opens a file of the folder; `None` if there is nothing of this name.
    ///
    /// # Errors
    /// As [`super::open`], and [`InputError::Escapes`] for a link that leaves the folder. The links of the Hub's cache,
    /// from `snapshots/REVISION/` to `blobs/`, stay in it.
    pub fn find(&self, name: &str, kind: Kind) -> Result<Option<FileSource>, InputError> {
        if self.has(name) { self.file(name, kind).map(Some) } else { Ok(None) }
    }

    /// Reads a file of the folder; `None` if there is nothing of this name.
    ///
    /// # Errors
    /// As [`Folder::find`]; and a file that changed while it was read.
    pub fn read(&self, name: &str, kind: Kind) -> Result<Option<Vec<u8>>, InputError> {
        self.find(name, kind)?.map(|source| source.read_all()).transpose()
    }

    /// Opens a file of the folder, which must be there.
    ///
    /// # Errors
    /// As [`Folder::find`].
    pub fn file(&self, name: &str, kind: Kind) -> Result<FileSource, InputError> {
        let path = self.path.join(name);
        let real = path.canonicalize().map_err(|cause| InputError::io(&path, cause))?;
        if !self.holds(&real) {
            return Err(InputError::Escapes { path });
        }
        // The checked file itself is opened, so that a link that changes in between leads nowhere else.
        FileSource::open_real(&real, path, kind)
    }

    /// Whether a file without links lies below the folder, or in the `blobs` of the Hub cache that the folder is a
    /// snapshot of: `cache/snapshots/REVISION/…` or, of older tools, `cache/SNAPSHOT`, beside `cache/blobs`.
    fn holds(&self, real: &Path) -> bool {
        if real.starts_with(&self.real) {
            return true;
        }
        let Some(blobs) = real.parent().filter(|parent| parent.ends_with("blobs")) else { return false };
        let is_cache = |snapshot: &Path| snapshot.parent().is_some_and(|cache| Some(cache) == blobs.parent());
        is_cache(&self.real)
            || self.real.ancestors().any(|above| above.ends_with("snapshots") && is_cache(above))
    }
}
