//! Whether a model's features can be compared with those of an index.

use std::path::Path;

use clipway_formats::shown;
use clipway_run::clip::Clip;
use clipway_run::space::{Identity, Space};
use clipway_search::{Index, IndexError};

use super::index_failure;
use crate::failure::Failure;
use crate::source::clip_failure;

/// Checks that the features of a model lie in the space of an index.
///
/// # Errors
/// `other-space`, and inputs that the model refuses.
pub fn check_space(index: &Index, identity: Identity, clip: &Clip) -> Result<(), Failure> {
    let (space, agreement) = index.space().check(identity, clip).map_err(|error| clip_failure(&error))?;
    if agreement.fits() {
        return Ok(());
    }
    Err(index_failure(&IndexError::OtherSpace {
        ours: named(index.space(), index.model()),
        theirs: named(&space, None),
        differences: agreement.differences.join("; "),
    }))
}

/// A space by the names of its model.
fn named(space: &Space, path: Option<&Path>) -> String {
    let source = match path {
        Some(path) => clipway_formats::shown_path(path),
        None => shown(&space.source),
    };
    match &space.model {
        Some(model) => format!("`{source}` ({}, {})", shown(model), shown(&space.fingerprint)),
        None => format!("`{source}` ({})", shown(&space.fingerprint)),
    }
}
