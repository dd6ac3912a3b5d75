//! What has changed since the index was filled last.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clipway_search::{IndexError, Item, Writer};

use crate::prepare::Facts;
use crate::summary::Summary;
use crate::walk::Walked;

/// What is to be done.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// Numbers of the found images that are new or changed, with what the index knows of their paths.
    pub todo: Vec<(usize, Option<Item>)>,
    /// Paths of the index that are gone.
    pub vanished: Vec<PathBuf>,
    /// What is known about images that are gone, by the hashes of their bytes: a moved image is one of them.
    pub facts: HashMap<[u8; 32], Facts>,
}

/// Compares what was found with the index.
///
/// # Errors
/// An index that cannot be read.
pub(crate) fn compare(
    writer: &mut Writer,
    walked: &Walked,
    summary: &mut Summary,
) -> Result<Comparison, IndexError> {
    let places: HashMap<&Path, usize> =
        walked.images.iter().enumerate().map(|(place, found)| (found.path.as_path(), place)).collect();
    let mut before: Vec<Option<Item>> = vec![None; walked.images.len()];
    let mut comparison = Comparison::default();
    writer.visit_items(|path, item| {
        match places.get(path.as_path()) {
            Some(&place) => before[place] = Some(item),
            None if !walked.roots.iter().any(|root| path.starts_with(root)) => {}
            None if is_kept(walked, &path) => summary.kept += 1,
            None => {
                if item.row.is_some() {
                    comparison.facts.insert(item.hash, Facts::of(&item));
                }
                comparison.vanished.push(path);
            }
        }
        Ok(())
    })?;
    for (place, (found, before)) in walked.images.iter().zip(before).enumerate() {
        let is_same = |item: &Item| item.size == found.size && item.modified_ns == found.modified_ns;
        match before {
            Some(item) if is_same(&item) => {
                summary.unchanged += 1;
                summary.still_unreadable += u64::from(item.unreadable.is_some());
            }
            before => comparison.todo.push((place, before)),
        }
    }
    Ok(comparison)
}

/// Whether nothing is known about a path that was not found: what is above it could not be walked, or is as empty as a
/// disk that is not mounted.
fn is_kept(walked: &Walked, path: &Path) -> bool {
    let is_below = |above: &Path| path.starts_with(above);
    walked.troubles.iter().any(|trouble| is_below(&trouble.path))
        || walked.empty.iter().any(|empty| is_below(empty))
}
