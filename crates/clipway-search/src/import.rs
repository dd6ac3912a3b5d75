//! An index of features that another program made.

use std::path::{Path, PathBuf};

use clipway_model::output::{OutputOptions, Staging};

use crate::error::IndexError;
use crate::index::{Index, Info, NewIndex};
use crate::manifest::Manifest;
use crate::writer::{self, Writer};

/// Writes a new index of features that come from `source`, as the index then records. `fill` puts them.
///
/// # Errors
/// An existing target, the errors of `fill`, and writes that fail. The target is then absent.
pub fn import<E: From<IndexError>>(
    target: &Path,
    new: NewIndex,
    source: PathBuf,
    fill: impl FnOnce(&mut Writer) -> Result<(), E>,
) -> Result<Info, E> {
    let manifest = Manifest::new(new, Some(source))?;
    let staging = Staging::create(target, OutputOptions::default()).map_err(IndexError::from)?;
    writer::create_in(&staging, &manifest)?;
    let mut writer = Writer::open(staging.folder())?;
    fill(&mut writer)?;
    writer.commit()?;
    drop(writer);
    let info = Index::open(staging.folder())?.info();
    staging.commit().map_err(IndexError::from)?;
    Ok(Info { path: target.to_owned(), ..info })
}
