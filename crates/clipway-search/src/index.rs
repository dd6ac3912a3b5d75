//! Reading an index.

use std::path::{Path, PathBuf};

use clipway_model::input::Folder;
use clipway_run::space::Space;
use serde::Serialize;

use crate::bitmap::Bitmap;
use crate::error::IndexError;
use crate::filter::Filter;
use crate::item::{Item, path_bytes, path_of};
use crate::manifest::{Manifest, VERSION};
use crate::rows::{Part, Rows};
use crate::scan::Codes;
use crate::store::{self, Counts, Snapshot};
use crate::writer;

/// What a new index is made of.
#[derive(Clone, Debug)]
pub struct NewIndex {
    /// The embedding space of the features, which has their width.
    pub space: Space,
    /// The artifact that queries are encoded with unless another is given.
    pub model: Option<PathBuf>,
}

/// Facts about an index.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Info {
    /// The index.
    pub path: PathBuf,
    /// Version of the format.
    pub version: u64,
    /// Values of a feature.
    pub width: usize,
    /// The embedding space of the features.
    pub space: Space,
    /// The artifact that queries are encoded with unless another is given.
    pub model: Option<PathBuf>,
    /// Where features came from that were imported; `None` if a model of this program made all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imported: Option<PathBuf>,
    /// Rows in the files.
    pub rows: u64,
    /// Rows that no file has any more.
    pub dead: u64,
    /// Files, with those that could not be read.
    pub items: u64,
    /// Bytes of a row in all files of rows.
    pub row_bytes: usize,
}

/// An index as of one commit. Later commits are not seen, and do not disturb it.
pub struct Index {
    pub(crate) path: PathBuf,
    pub(crate) manifest: Manifest,
    pub(crate) snapshot: Snapshot,
    pub(crate) counts: Counts,
    pub(crate) rows: Rows,
    /// Codes in memory.
    pub(crate) held: Option<Codes>,
    /// Rows that no search finds; `None` if there are none.
    pub(crate) dead: Option<Bitmap>,
}

impl Index {
    /// Creates an empty index; nothing may be at the path.
    ///
    /// # Errors
    /// A width outside of 1 to [`MOST_WIDTH`](crate::MOST_WIDTH), and outputs that cannot be written.
    pub fn create(path: &Path, new: NewIndex) -> Result<(), IndexError> {
        writer::create(path, new)
    }

    /// Opens an index as of its last commit.
    ///
    /// # Errors
    /// A folder that is no index, one of another version, one that is damaged, and files that cannot be read.
    pub fn open(path: &Path) -> Result<Index, IndexError> {
        let folder = Folder::open(path)?;
        let manifest = Manifest::read(&folder)?;
        let snapshot = Snapshot::open(&path.join(store::FILE), manifest.width)?;
        let counts = snapshot.counts()?;
        let rows = Rows::open(&folder, manifest.width, counts.rows)?;
        let dead = match counts.dead {
            0 => None,
            _ => {
                let mut bitmap = Bitmap::none(counts.rows);
                snapshot.dead()?.into_iter().for_each(|row| bitmap.insert(row));
                Some(bitmap)
            }
        };
        Ok(Index { path: path.to_owned(), manifest, snapshot, counts, rows, held: None, dead })
    }

    /// Reads the codes into memory if they take at most `most` bytes, so that later searches read no files but for the
    /// final ranking.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn hold(&mut self, most: u64) -> Result<(), IndexError> {
        let bytes = self.rows.count * (Part::Codes.row_bytes(self.rows.width) + size_of::<f32>()) as u64;
        if self.held.is_none() && bytes <= most {
            self.held = Some(Codes::read(&self.rows, 0, self.rows.count)?);
        }
        Ok(())
    }

    /// Facts about the index.
    pub fn info(&self) -> Info {
        let width = self.manifest.width;
        Info {
            path: self.path.clone(),
            version: VERSION,
            width,
            space: self.manifest.space.clone(),
            model: self.manifest.model.clone(),
            imported: self.manifest.imported.clone(),
            rows: self.counts.rows,
            dead: self.counts.dead,
            items: self.counts.items,
            row_bytes: Part::ALL.iter().map(|part| part.row_bytes(width)).sum(),
        }
    }

    /// Values of a feature.
    pub fn width(&self) -> usize {
        self.manifest.width
    }

    /// The embedding space of the features.
    pub fn space(&self) -> &Space {
        &self.manifest.space
    }

    /// The artifact that queries are encoded with unless another is given.
    pub fn model(&self) -> Option<&Path> {
        self.manifest.model.as_deref()
    }

    /// What the index knows about a file.
    ///
    /// # Errors
    /// A damaged index.
    pub fn item(&self, path: &Path) -> Result<Option<Item>, IndexError> {
        path_bytes(path).map_or(Ok(None), |path| self.snapshot.item(path))
    }

    /// Shows every item to a visitor, in the order of the paths' bytes.
    ///
    /// # Errors
    /// A damaged index, and the visitor's error.
    pub fn visit_items(
        &self,
        mut visitor: impl FnMut(PathBuf, Item) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        self.snapshot.visit(&mut visitor)
    }

    /// The files with a row, in the order of the paths' bytes: several if they have the same bytes, none for a row that
    /// no file has any more or that does not exist.
    ///
    /// # Errors
    /// A damaged index.
    pub fn items_of_row(&self, row: u64) -> Result<Vec<(PathBuf, Item)>, IndexError> {
        let mut items = Vec::new();
        for path in self.snapshot.paths_of_row(row)? {
            let item = self.snapshot.item(&path)?.filter(|item| item.row == Some(row));
            let (Some(item), Some(path)) = (item, path_of(&path)) else {
                let file = self.path.join(store::FILE);
                return Err(IndexError::damaged(&file, format!("row {row} belongs to a file without it")));
            };
            items.push((path, item));
        }
        Ok(items)
    }

    /// A row's feature, of length 1 but for rounding to f16: `[width]`.
    ///
    /// # Errors
    /// A row that does not exist, and files that cannot be read.
    pub fn feature(&self, row: u64) -> Result<Vec<f32>, IndexError> {
        if row >= self.counts.rows {
            let reason = format!("there is no row {row}; the index has {}", self.counts.rows);
            return Err(IndexError::BadQuery { reason });
        }
        self.rows.values(row)
    }

    /// The rows that a search may find; `None` if that is every row.
    pub(crate) fn allowed(&self, filter: &Filter) -> Result<Option<Bitmap>, IndexError> {
        if filter.is_empty() {
            return Ok(None);
        }
        let mut allowed = Bitmap::none(self.counts.rows);
        self.visit_items(|path, item| {
            if let Some(row) = item.row.filter(|_| filter.matches(&path, &item)) {
                allowed.insert(row);
            }
            Ok(())
        })?;
        Ok(Some(allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_shared_by_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Index>();
    }
}
