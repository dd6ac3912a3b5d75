//! Adding to an index.

use std::path::{Path, PathBuf};

use clipway_formats::shown_path;
use clipway_model::input::Folder;
use clipway_model::output::{OutputOptions, Staging};

use crate::error::IndexError;
use crate::in_place::{Appender, LOCK, WriterLock};
use crate::index::NewIndex;
use crate::item::{Item, MOST_PATH_BYTES, path_bytes};
use crate::manifest::Manifest;
use crate::rows::{MOST_ROWS, Part, StoredRow};
use crate::store::{self, Items};

/// Creates an empty index; nothing may be at the path.
pub(crate) fn create(path: &Path, new: NewIndex) -> Result<(), IndexError> {
    let manifest = Manifest::new(new, None)?;
    let staging = Staging::create(path, OutputOptions::default())?;
    create_in(&staging, &manifest)?;
    staging.commit()?;
    Ok(())
}

/// Creates an empty index in a folder that is being written.
pub(crate) fn create_in(staging: &Staging, manifest: &Manifest) -> Result<(), IndexError> {
    manifest.write(staging)?;
    for name in Part::ALL.map(Part::file).into_iter().chain([LOCK]) {
        staging.file(name)?;
    }
    store::create(&staging.folder().join(store::FILE), manifest.width)
}

/// The one writer of an index. What is put becomes visible, and safe, with [`Writer::commit`].
pub struct Writer {
    width: usize,
    items: Items,
    rows: Appender,
    _lock: WriterLock,
}

impl Writer {
    /// Opens an index for writing. Rows that a killed writer appended and did not commit are cut off.
    ///
    /// # Errors
    /// [`IndexError::Locked`] if another writer has it open, and an index that is damaged or cannot be read.
    pub fn open(path: &Path) -> Result<Writer, IndexError> {
        let folder = Folder::open(path)?;
        let width = Manifest::read(&folder)?.width;
        let lock = WriterLock::take(path)?;
        let mut items = Items::open(&path.join(store::FILE), width)?;
        let count = items.rows()?;
        let rows = Appender::open(path, width, count)?;
        Ok(Writer { width, items, rows, _lock: lock })
    }

    /// Values of a feature.
    pub fn width(&self) -> usize {
        self.width
    }

    /// What the index knows about a file.
    ///
    /// # Errors
    /// A path that cannot be stored, and a damaged index.
    pub fn item(&mut self, path: &Path) -> Result<Option<Item>, IndexError> {
        self.items.item(checked(path)?)
    }

    /// The row with the feature of a file with these bytes, by their SHA-256.
    ///
    /// # Errors
    /// A damaged index.
    pub fn row_of_hash(&mut self, hash: &[u8; 32]) -> Result<Option<u64>, IndexError> {
        self.items.row_of_hash(hash)
    }

    /// Shows every item to a visitor, in the order of the paths' bytes.
    ///
    /// # Errors
    /// A damaged index, and the visitor's error.
    pub fn visit_items(
        &mut self,
        mut visitor: impl FnMut(PathBuf, Item) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        self.items.visit(&mut visitor)
    }

    /// Adds a file or replaces what is known about it, and returns its row.
    ///
    /// A file that could not be read says why, and has no feature. Any other has a feature of `[width]` values, of any
    /// length, unless the index has one for a file with the same hash, which then counts.
    ///
    /// # Errors
    /// An item that says too little or too much, a feature of another width or without a direction, and writes that fail.
    pub fn put(
        &mut self,
        path: &Path,
        item: &Item,
        feature: Option<&[f32]>,
    ) -> Result<Option<u64>, IndexError> {
        let row = match feature {
            Some(feature) if feature.len() != self.width() => {
                return Err(IndexError::Width { expected: self.width(), found: feature.len() });
            }
            Some(feature) => {
                Some(StoredRow::of(feature, &|| format!("the feature of `{}`", shown_path(path)))?)
            }
            None => None,
        };
        self.put_stored(path, item, row.as_ref())
    }

    /// As [`Writer::put`], with a row that is encoded already.
    pub(crate) fn put_stored(
        &mut self,
        path: &Path,
        item: &Item,
        stored: Option<&StoredRow>,
    ) -> Result<Option<u64>, IndexError> {
        let bytes = checked(path)?;
        let refuse = |reason| IndexError::BadItem { path: path.to_string_lossy().into_owned(), reason };
        if item.unreadable.is_some() && stored.is_some() {
            return Err(refuse("it has a feature, and a reason why it could not be read"));
        }
        if item.unreadable.is_some() && item.caption.is_some() {
            return Err(refuse("it has a caption, and a reason why it could not be read"));
        }
        let before = self.items.item(bytes)?;
        let row = match (&item.unreadable, self.items.row_of_hash(&item.hash)?, stored) {
            (Some(_), _, _) => None,
            (None, Some(row), _) => Some(row),
            (None, None, Some(stored)) => Some(self.append(stored)?),
            (None, None, None) => {
                return Err(refuse("it has no feature, and no other file has the same hash"));
            }
        };
        self.items.put(bytes, &Item { row, ..item.clone() }, before.as_ref())?;
        Ok(row)
    }

    fn append(&mut self, stored: &StoredRow) -> Result<u64, IndexError> {
        let row = self.rows.push(stored)?;
        if row >= MOST_ROWS {
            let found = row + 1;
            return Err(IndexError::TooLarge { what: "the number of rows", found, limit: MOST_ROWS });
        }
        Ok(row)
    }

    /// Forgets a file, and returns whether it was known. Its row stays in the files, and no search finds it.
    ///
    /// # Errors
    /// A path that cannot be stored, a damaged index, and writes that fail.
    pub fn remove(&mut self, path: &Path) -> Result<bool, IndexError> {
        let bytes = checked(path)?;
        let Some(before) = self.items.item(bytes)? else { return Ok(false) };
        self.items.remove(bytes, &before)?;
        Ok(true)
    }

    /// Makes everything since the last commit visible and safe: the rows first, then the items that name them.
    ///
    /// # Errors
    /// Writes that fail; nothing is committed then.
    pub fn commit(&mut self) -> Result<(), IndexError> {
        let span = self.rows.sync()?;
        self.items.commit(span)?;
        self.rows.committed();
        Ok(())
    }
}

/// The bytes of a path that can be stored.
fn checked(path: &Path) -> Result<&[u8], IndexError> {
    let refuse = |reason| IndexError::BadItem { path: path.to_string_lossy().into_owned(), reason };
    let bytes = path_bytes(path).ok_or_else(|| refuse("a path that is not valid Unicode"))?;
    match bytes.len() {
        0 => Err(refuse("an empty path")),
        1..=MOST_PATH_BYTES => Ok(bytes),
        _ => Err(refuse("the path is too long")),
    }
}
