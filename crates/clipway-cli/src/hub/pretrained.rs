//! The weights that `--model NAME --pretrained TAG|FILE` names, as in open_clip.

use std::path::{Path, PathBuf};

use clipway_model::registry;

use super::failure;
use super::source::{Named, client, fetched};
use crate::failure::Failure;
use crate::ui::Ui;

/// Weights by their tag, or in a file.
pub struct PretrainedWeights {
    /// The file or folder.
    pub path: PathBuf,
    /// Whether a tag named them, so that their repository says what they are.
    pub is_tag: bool,
}

/// Finds the weights; those of a tag come from the Hub. A tag of the model goes before a file of the same name.
pub fn pretrained(model: &str, pretrained: &str, ui: &Ui) -> Result<PretrainedWeights, Failure> {
    let unknown = match registry::tag(model, pretrained) {
        Ok(entry) => {
            let named = Named::parse(&format!("{model}:{}", entry.tag))?;
            let hub = client(ui)?;
            let tree = hub.tree(&named.reference.repo, named.reference.revision());
            let found = tree.and_then(|tree| fetched(&hub, &named.reference, &tree));
            let (choice, pulled) = found.map_err(|error| failure(&error))?;
            let path = choice.weights.map_or(pulled.folder.clone(), |weights| pulled.folder.join(weights));
            return Ok(PretrainedWeights { path, is_tag: true });
        }
        Err(unknown) => unknown,
    };
    match Path::new(pretrained).exists() {
        true => Ok(PretrainedWeights { path: pretrained.into(), is_tag: false }),
        false => {
            Err(Failure::could_not_run("bad-option", format!("`--pretrained`: {unknown}, nor is it a file")))
        }
    }
}
