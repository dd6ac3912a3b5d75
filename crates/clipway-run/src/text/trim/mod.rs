//! Trims a tokenizer's vocabulary to what some texts need, so that rows of the token embedding can be left out.
//!
//! What is kept: every token of the texts, every special and added token, every single character and byte, so that any text
//! can still be written, and whatever the merges of a byte-pair encoding pass through on the way. Tokens keep their order, so
//! the end token of a model that pools at the highest id stays the highest.
//!
//! Each text keeps its tokens. Byte pairs: the merges applied to the text are all kept and in the same order, and none is
//! added, so the same ones are applied. Unigram: the best path is kept, others only become fewer, and the piece of the lowest
//! score stays, on which the score of unknown characters depends. WordPiece: the longest match is kept.

mod derive;
mod keep;
mod renumber;
mod rewrite;
mod sentence_piece;

pub use renumber::Renumbering;

use clipway_model::artifact::FileHash;
use clipway_model::config::{TextConfig, TextPool};
use clipway_model::contract::{HiddenTexts, TrimmedVocabulary};
use clipway_model::source::Vocabulary;
use rayon::prelude::*;
use serde_json::Value;

use super::folder::FolderTokenizer;
use super::huggingface::FILE;
use super::{
    JsonRules, Side, Tokenizer, TokenizerError, TokenizerFiles, TokenizerKind, TokenizerMode, TokenizerRules,
};
use keep::Keeper;

/// Most texts that are named in an error.
const MOST_NAMED: usize = 4;

/// A vocabulary that was chosen, and what is known of the choice.
#[derive(Debug)]
pub struct Chosen {
    /// The vocabulary.
    pub vocabulary: Vocabulary,
    /// The first of the hidden texts that would be written differently.
    pub example: Option<String>,
}

/// Why a vocabulary cannot be trimmed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrimError {
    /// Nothing to choose by.
    #[error("no text has any characters, so none chooses a vocabulary")]
    NoTexts,
    /// All tokens are needed.
    #[error("the texts need all {0} rows of the token embedding: nothing can be trimmed")]
    NeedsAll(usize),
    /// A tokenizer whose tokens do not depend on single pieces.
    #[error("the vocabulary of a `{0}` tokenizer cannot be trimmed")]
    Kind(String),
    /// Texts that the trimmed tokenizer writes with other tokens.
    #[error(
        "{} of {of} texts cannot be written with the same tokens by the trimmed vocabulary: {}",
        texts.len(),
        clipway_formats::shown_first(texts, MOST_NAMED)
    )]
    Unwritable {
        /// The texts.
        texts: Vec<String>,
        /// Number of all texts.
        of: usize,
    },
    /// The tokenizer, or the trimmed one.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl TrimError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            TrimError::Tokenizer(error) => error.code(),
            _ => "vocabulary",
        }
    }
}

impl FolderTokenizer {
    /// Chooses the tokens that texts need, of a token embedding with `rows` rows. Blank texts do not count. Every second text
    /// also chooses alone, to see how many of the others a vocabulary would serve that did not see them.
    ///
    /// # Errors
    /// No texts, texts that need everything, texts that the trimmed tokenizer would write differently, and a tokenizer of
    /// another kind.
    pub fn choose(&self, texts: &[String], rows: usize, text: &TextConfig) -> Result<Chosen, TrimError> {
        let texts: Vec<&String> = texts.iter().filter(|text| !text.trim().is_empty()).collect();
        if texts.is_empty() {
            return Err(TrimError::NoTexts);
        }
        let file = self.vocabulary_file()?;
        let keeper = Keeper::new(&file, self.tokenizer.rules())?;
        let used: Vec<Vec<u32>> =
            texts.par_iter().map(|text| self.tokenizer.all_ids(text)).collect::<Result<_, _>>()?;
        let chosen = |used: &mut dyn Iterator<Item = &Vec<u32>>| keeper.kept(used.flatten().copied(), rows);
        let kept = chosen(&mut used.iter());
        if kept.len() >= rows {
            return Err(TrimError::NeedsAll(rows));
        }
        let otherwise = self.otherwise(&kept, text, &texts)?;
        if !otherwise.is_empty() {
            return Err(TrimError::Unwritable { texts: otherwise, of: texts.len() });
        }
        let hidden: Vec<&String> = texts.iter().skip(1).step_by(2).copied().collect();
        let of_half = chosen(&mut used.iter().step_by(2));
        let surprised = if hidden.is_empty() { Vec::new() } else { self.otherwise(&of_half, text, &hidden)? };
        let lines: String = texts.iter().flat_map(|text| [text.as_str(), "\n"]).collect();
        let choice = TrimmedVocabulary {
            kept: kept.len(),
            of: rows,
            texts: texts.len(),
            texts_sha256: FileHash::of(lines.as_bytes()).sha256,
            hidden: HiddenTexts { texts: hidden.len(), otherwise: surprised.len() },
        };
        let example = surprised.into_iter().next();
        Ok(Chosen { vocabulary: Vocabulary { kept: kept.into(), choice }, example })
    }

    /// The texts that a vocabulary of these tokens writes differently.
    fn otherwise(
        &self,
        kept: &[u32],
        text: &TextConfig,
        texts: &[&String],
    ) -> Result<Vec<String>, TrimError> {
        let trimmed = self.trimmed(kept, text)?;
        let differs = |text: &&&String| -> Result<bool, TokenizerError> {
            let (ours, theirs) = (self.tokenizer.encode(text)?, trimmed.tokenizer.encode(text)?);
            let renumbered = theirs.tokens().iter().map(|id| i64::from(kept[*id as usize]));
            Ok(!renumbered.eq(ours.tokens().iter().copied()))
        };
        let found = texts.par_iter().filter_map(|text| match differs(&text) {
            Ok(false) => None,
            Ok(true) => Some(Ok((*text).clone())),
            Err(error) => Some(Err(error)),
        });
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// The tokenizer with these tokens only, and its files. `text` is the model's config before it is trimmed.
    ///
    /// # Errors
    /// Files that cannot be changed, and a tokenizer that the model's pooling does not fit then.
    pub fn trimmed(&self, kept: &[u32], text: &TextConfig) -> Result<FolderTokenizer, TokenizerError> {
        let file = rewrite::tokenizer(&self.vocabulary_file()?, kept);
        let rules = rewrite::rules(&self.whole_rules(text)?, kept)?;
        let bytes = file.to_string().into_bytes();
        let tokenizer = Tokenizer::from_json(&bytes, rules)?;
        let files = rewrite::files(&self.files, &file, bytes, kept)?;
        let notes = self.notes.clone();
        Ok(FolderTokenizer { tokenizer, files, notes, is_built_in: false })
    }

    /// The `tokenizer.json` as it is run, parsed.
    pub(super) fn vocabulary_file(&self) -> Result<Value, TokenizerError> {
        let bytes = TokenizerFiles::of(&self.files).tokenizer;
        let bytes = bytes.ok_or_else(|| TokenizerError::file(FILE, "file", "it is missing"))?;
        serde_json::from_slice(bytes)
            .map_err(|cause| TokenizerError::file(FILE, "top level", cause.to_string()))
    }

    /// The rules for a `tokenizer.json`. CLIP's own encoding gets those of transformers' class for it, which pads with the end
    /// token: under a causal mask, and pooled at the first end, what follows changes nothing.
    fn whole_rules(&self, text: &TextConfig) -> Result<TokenizerRules, TokenizerError> {
        let rules = self.tokenizer.rules().clone();
        if !matches!(rules.kind, TokenizerKind::ClipBpe {}) {
            return Ok(rules);
        }
        let key = match text.modern {
            Some(modern) if !modern.causal => Some("attention_mode"),
            Some(_) if text.pool != TextPool::Eos => Some("pool_type"),
            None if text.no_causal_mask => Some("no_causal_mask"),
            _ => None,
        };
        if let Some(key) = key {
            let cause = "texts see their padding, and the trimmed tokenizer pads with another token";
            return Err(TokenizerError::rule(key, cause));
        }
        let json = JsonRules {
            pad_id: super::clip::END_TOKEN,
            padding_side: Side::Right,
            truncation_side: Side::Right,
            stripped_id: None,
            mode: TokenizerMode::PostProcessor,
            language: None,
            longest: None,
        };
        Ok(TokenizerRules { kind: TokenizerKind::TokenizerJson(json), ..rules })
    }
}
