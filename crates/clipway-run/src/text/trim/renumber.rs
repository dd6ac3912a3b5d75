//! The ids of a folder with a trimmed vocabulary as those of its source, by the spelling of the tokens.

use std::collections::HashMap;

use serde_json::Value;

use super::keep::{id_of, tokens};
use crate::text::folder::FolderTokenizer;
use crate::text::{Encoded, TokenizerError};

/// For each token of a folder, the token of the source that is spelled the same.
#[derive(Debug)]
pub struct Renumbering {
    ids: Vec<Option<u32>>,
}

impl Renumbering {
    /// Compares the vocabularies of two tokenizers. Nothing is taken from how the folder was made.
    ///
    /// # Errors
    /// Files that are malformed.
    pub fn between(
        source: &FolderTokenizer,
        folder: &FolderTokenizer,
    ) -> Result<Renumbering, TokenizerError> {
        let (source, folder) = (source.vocabulary_file()?, folder.vocabulary_file()?);
        let (ours, theirs) = (all_tokens(&source), all_tokens(&folder));
        let length = theirs.values().map(|id| *id as usize + 1).max().unwrap_or_default();
        let mut ids = vec![None; length];
        for (token, id) in theirs {
            ids[id as usize] = ours.get(token).copied();
        }
        Ok(Renumbering { ids })
    }

    /// The source's id of a folder's token; -1 stays, and -2 is a token that the source lacks.
    pub fn id(&self, id: i64) -> i64 {
        match usize::try_from(id) {
            Ok(place) => self.ids.get(place).copied().flatten().map_or(-2, i64::from),
            Err(_) => id,
        }
    }

    /// Whether a text becomes the same tokens on both sides, padding aside.
    pub fn is_same(&self, source: &Encoded, folder: &Encoded) -> bool {
        folder.tokens().iter().map(|id| self.id(*id)).eq(source.tokens().iter().copied())
    }

    /// The ids of the source's tokens that the folder has, in the folder's order; `None` if it has one that the source lacks.
    pub fn kept(&self) -> Option<Vec<u32>> {
        self.ids.iter().copied().collect()
    }
}

/// The model's tokens and the added ones.
fn all_tokens(file: &Value) -> HashMap<&str, u32> {
    let mut all = tokens(file);
    let added = file["added_tokens"].as_array().into_iter().flatten();
    all.extend(added.filter_map(|token| Some((token["content"].as_str()?, id_of(&token["id"])?))));
    all
}
