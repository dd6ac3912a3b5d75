//! One index from several.

use std::path::{Path, PathBuf};

use clipway_formats::shown_path;
use clipway_model::output::{OutputOptions, Staging};
use serde::Serialize;

use crate::error::IndexError;
use crate::index::{Index, NewIndex};
use crate::manifest::Manifest;
use crate::writer::{self, Writer};

/// Items between two commits.
const COMMIT_ITEMS: usize = 1 << 16;

/// What was merged.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Merged {
    /// Rows of the new index.
    pub rows: u64,
    /// Files of the new index.
    pub items: u64,
    /// Files that several indices have: the item that was added last counts.
    pub in_several: u64,
}

/// Writes a new index with everything that others have. All must be of one embedding space; the first one gives space and
/// model. Rows that no file has are left out.
///
/// # Errors
/// No index, indices of different spaces, an existing target, indices that cannot be read, and writes that fail. The
/// target is then absent.
pub fn merge(target: &Path, sources: &[PathBuf]) -> Result<Merged, IndexError> {
    let indices = sources.iter().map(|path| Index::open(path)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = indices.first() else {
        return Err(IndexError::BadQuery { reason: "there is no index to merge".to_owned() });
    };
    for other in &indices[1..] {
        let agreement = first.space().compare(other.space());
        if !agreement.fits() {
            let named = |index: &Index| format!("`{}`", shown_path(&index.path));
            let (ours, theirs) = (named(first), named(other));
            let differences = agreement.differences.join("; ");
            return Err(IndexError::OtherSpace { ours, theirs, differences });
        }
    }
    let model = first.model().map(Path::to_path_buf);
    let imported = indices.iter().find_map(|index| index.manifest.imported.clone());
    let manifest = Manifest::new(NewIndex { space: first.space().clone(), model }, imported)?;
    let staging = Staging::create(target, OutputOptions::default())?;
    writer::create_in(&staging, &manifest)?;
    let mut merged = Merged::default();
    let mut writer = Writer::open(staging.folder())?;
    for index in &indices {
        let mut uncommitted = 0;
        index.visit_items(|path, item| {
            if let Some(there) = writer.item(&path)? {
                merged.in_several += 1;
                if there.added >= item.added {
                    return Ok(());
                }
            }
            let stored = item.row.map(|row| index.rows.stored(row)).transpose()?;
            writer.put_stored(&path, &item, stored.as_ref())?;
            uncommitted += 1;
            if uncommitted == COMMIT_ITEMS {
                uncommitted = 0;
                writer.commit()?;
            }
            Ok(())
        })?;
        writer.commit()?;
    }
    drop(writer);
    let info = Index::open(staging.folder())?.info();
    staging.commit()?;
    Ok(Merged { rows: info.rows, items: info.items, ..merged })
}
