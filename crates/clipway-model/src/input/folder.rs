//! A folder of inputs. No link in it is followed out of it.

use std::path::{Path, PathBuf};

use super::{Elsewhere, FileSource, InputError, Kind};

/// A folder, and its real path.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    real: PathBuf,
    elsewhere: Elsewhere,
}

impl Folder {
    /// Opens a folder; an empty path means the current one.
    ///
    /// # Errors
    /// A system error.
    pub fn open(path: &Path) -> Result<Folder, InputError> {
        let path = if path == Path::new("") { Path::new(".") } else { path };
        let real = path.canonicalize().map_err(|cause| InputError::io(path, cause))?;
        Ok(Folder { path: path.to_owned(), real, elsewhere: Elsewhere::default() })
    }

    /// Opens the folder of weights that may exist only in memory: an absent folder counts as empty.
    ///
    /// # Errors
    /// A system error other than an absent folder.
    pub fn open_if_any(path: &Path) -> Result<Folder, InputError> {
        match Folder::open(path) {
            Err(InputError::Io { path, cause }) if cause.kind() == std::io::ErrorKind::NotFound => {
                Ok(Folder { real: path.clone(), path, elsewhere: Elsewhere::default() })
            }
            opened => opened,
        }
    }

    /// The same folder, with weight files that it does not hold itself.
    #[must_use]
    pub fn with(self, elsewhere: &Elsewhere) -> Folder {
        Folder { elsewhere: elsewhere.clone(), ..self }
    }

    /// The folder that contains a file.
    ///
    /// # Errors
    /// A system error.
    pub fn of(file: &Path) -> Result<Folder, InputError> {
        Folder::open(file.parent().unwrap_or(Path::new("")))
    }

    /// Opens a folder inside this one.
    ///
    /// # Errors
    /// A system error, and [`InputError::Escapes`] for a link that leaves this folder.
    pub fn below(&self, name: &str) -> Result<Folder, InputError> {
        let folder = Folder::open(&self.path.join(name))?;
        match folder.real.starts_with(&self.real) {
            true => Ok(folder),
            false => Err(InputError::Escapes { path: folder.path }),
        }
    }

    /// The path, as given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether anything has this name: a file, a folder or a dangling link.
    pub fn has(&self, name: &str) -> bool {
        self.path.join(name).symlink_metadata().is_ok()
    }

    /// Opens a file of the folder; `None` if nothing has this name.
    ///
    /// # Errors
    /// The errors of [`super::open`], and [`InputError::Escapes`] for a link that leaves the folder. Links of the Hub
    /// cache, from `snapshots/REVISION/` to `blobs/`, are allowed.
    pub fn find(&self, name: &str, kind: Kind) -> Result<Option<FileSource>, InputError> {
        if self.has(name) { self.file(name, kind).map(Some) } else { Ok(None) }
    }

    /// Reads a file of the folder; `None` if nothing has this name.
    ///
    /// # Errors
    /// The errors of [`Folder::find`], and a file that changed while it was read.
    pub fn read(&self, name: &str, kind: Kind) -> Result<Option<Vec<u8>>, InputError> {
        self.find(name, kind)?.map(|source| source.read_all()).transpose()
    }

    /// Opens a file of the folder that must exist.
    ///
    /// # Errors
    /// The errors of [`Folder::find`].
    pub fn file(&self, name: &str, kind: Kind) -> Result<FileSource, InputError> {
        let path = self.path.join(name);
        if let Some(file) = self.elsewhere.get(name) {
            return FileSource::elsewhere(path, file, kind);
        }
        let real = path.canonicalize().map_err(|cause| InputError::io(&path, cause))?;
        if !self.holds(&real) {
            return Err(InputError::Escapes { path });
        }
        // Open the checked file itself, so that a link changed in between cannot redirect it.
        FileSource::open_real(&real, path, kind)
    }

    /// Whether a link-free path lies below the folder, or in the `blobs` of the Hub cache that the folder is a snapshot
    /// of: `cache/snapshots/REVISION/…` or, from older tools, `cache/SNAPSHOT`, beside `cache/blobs`.
    fn holds(&self, real: &Path) -> bool {
        if real.starts_with(&self.real) {
            return true;
        }
        let Some(blobs) = real.parent().filter(|parent| parent.ends_with("blobs")) else {
            return self.shares(real);
        };
        let is_cache = |snapshot: &Path| snapshot.parent().is_some_and(|cache| Some(cache) == blobs.parent());
        is_cache(&self.real)
            || self.real.ancestors().any(|above| above.ends_with("snapshots") && is_cache(above))
    }

    /// Whether a link-free path lies in the store that the repositories of a Hub cache share: `hub/blobs/XX/HASH`, seen
    /// from `hub/models--OWNER--NAME/snapshots/REVISION/…`.
    fn shares(&self, real: &Path) -> bool {
        let Some(shelf) = real.parent() else { return false };
        let Some(store) = shelf.parent().filter(|store| store.ends_with("blobs")) else { return false };
        let is_shelf = shelf.file_name().is_some_and(|name| name.len() == 2);
        let is_cache = |snapshots: &Path| {
            let repository = snapshots.parent();
            let is_model = repository.and_then(Path::file_name).and_then(|name| name.to_str());
            is_model.is_some_and(|name| name.starts_with("models--"))
                && repository.and_then(Path::parent) == store.parent()
        };
        is_shelf && self.real.ancestors().any(|above| above.ends_with("snapshots") && is_cache(above))
    }
}
