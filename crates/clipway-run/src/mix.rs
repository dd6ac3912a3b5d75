//! Mixes of models whose tokenizers are compared as well.

use std::path::Path;

use clipway_model::mix::{self, MixError, Mixed};
use clipway_model::plan::Towers;
use clipway_model::source::Source;

use crate::load::{LoadError, LoadedTokenizer};

/// Models cannot be put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MixSourcesError {
    /// A tokenizer cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The sources do not fit each other.
    #[error(transparent)]
    Mix(#[from] MixError),
}

/// Mixes sources as [`clipway_model::mix::mix`] does, and refuses sources whose tokenizers differ. `tokenizer` is the
/// folder of the tokenizer's files where they are not beside the weights.
///
/// # Errors
/// Tokenizer files that cannot be read, and the errors of [`clipway_model::mix::mix`].
pub fn mix_sources(
    mut sources: Vec<Source>,
    shares: &[f64],
    tokenizer: Option<&Path>,
) -> Result<Mixed, MixSourcesError> {
    let tokenizers = sources.iter_mut().map(|source| read_tokenizer(source, tokenizer));
    let tokenizers = tokenizers.collect::<Result<Vec<_>, _>>()?;
    let mut unlike = Vec::new();
    for (index, other) in tokenizers.iter().enumerate().skip(1) {
        let number = index + 1;
        match (&tokenizers[0], other) {
            (Some(a), Some(b)) if vocabulary(a) != vocabulary(b) => unlike.push(format!(
                "tokenizer: the `tokenizer.json` of source 1 differs from that of source {number}"
            )),
            (Some(_), None) => unlike.push(format!("tokenizer: source {number} has no files of it")),
            (None, Some(_)) => unlike.push("tokenizer: source 1 has no files of it".to_owned()),
            _ => {}
        }
    }
    match mix::mix(sources, shares) {
        Err(MixError::Unlike(mut found)) => {
            found.extend(unlike);
            Err(MixError::Unlike(found).into())
        }
        Ok(_) if !unlike.is_empty() => Err(MixError::Unlike(unlike).into()),
        mixed => Ok(mixed?),
    }
}

/// Reads the tokenizer into a source's contract.
fn read_tokenizer(source: &mut Source, folder: Option<&Path>) -> Result<Option<LoadedTokenizer>, LoadError> {
    if source.tower() == Towers::Image {
        return Ok(None);
    }
    let folder = folder.unwrap_or(source.folder()).to_owned();
    LoadedTokenizer::read_into(source, &folder)
}

/// The `tokenizer.json`, whatever its whitespace; `None` for CLIP's own tokenizer.
fn vocabulary(tokenizer: &LoadedTokenizer) -> Option<serde_json::Value> {
    let tokenizer = &tokenizer.tokenizer;
    let mut files = tokenizer.files.iter().filter(|_| !tokenizer.is_built_in);
    let (_, bytes) = files.find(|(name, _)| name == "tokenizer.json")?;
    serde_json::from_slice(bytes).ok()
}
