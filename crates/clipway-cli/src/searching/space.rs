//! Whether a model's features can be compared with those of an index.

use std::path::Path;

use clipway_formats::{shown, shown_path};
use clipway_run::clip::Clip;
use clipway_run::space::{Identity, Space, Verdict};
use clipway_search::{Index, IndexError};

use super::index_failure;
use super::model::IndexModel;
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

/// Opens an index that a model is to add features to, or whose space a new index takes: theirs must be the same.
///
/// # Errors
/// An index that cannot be read, `other-space`, and inputs that the model refuses.
pub fn same_space(path: &Path, model: &IndexModel) -> Result<Space, Failure> {
    let index = Index::open(path).map_err(|error| index_failure(&error))?;
    let checked = index.space().check(model.identity.clone(), &model.clip);
    let (space, agreement) = checked.map_err(|error| clip_failure(&error))?;
    let hint = match agreement.verdict {
        Verdict::Same => return Ok(index.space().clone()),
        Verdict::Twin => {
            "an index holds features of one precision: fill it with the model that it was made with; any twin can search it"
        }
        Verdict::Other => "make another index for this model, or pass the model that the index was made with",
    };
    let message = format!(
        "`{}` has features of {}, and the model is {}: {agreement}",
        shown_path(path),
        named(index.space(), None),
        named(&space, None)
    );
    Err(Failure::no("other-space", message).hint(hint))
}

/// A space by the names of its model.
fn named(space: &Space, path: Option<&Path>) -> String {
    let source = match path {
        Some(path) => shown_path(path),
        None => shown(&space.source),
    };
    match &space.model {
        Some(model) => format!("`{source}` ({}, {})", shown(model), shown(&space.fingerprint)),
        None => format!("`{source}` ({})", shown(&space.fingerprint)),
    }
}
