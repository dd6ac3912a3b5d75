//! A model's tokenizer.

use std::ops::Range;

use rayon::prelude::*;

use super::clip::ClipBpe;
use super::filled::Filled;
use super::huggingface::{Highest, JsonTokenizer};
use super::{Clean, TokenizerError, TokenizerKind, TokenizerRules, clean, rules};

/// Number of texts from which a batch is spread over threads.
const PARALLEL_TEXTS: usize = 256;

/// The ids of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Token ids, `[context_length]`.
    pub ids: Vec<i64>,
    /// Whether the text was longer than the context and lost tokens.
    pub truncated: bool,
    /// Where the ids are that are not padding.
    filled: Range<usize>,
}

impl Encoded {
    /// The ids without padding.
    pub fn tokens(&self) -> &[i64] {
        &self.ids[self.filled.clone()]
    }
}

/// The ids of several texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedBatch {
    /// Token ids, `[texts, context_length]`, one text per row.
    pub ids: Vec<i64>,
    /// The length of a row.
    pub context_length: usize,
    /// How many texts were longer than the context and lost tokens.
    pub truncated: usize,
    /// For each text, where the ids are that are not padding, within its row.
    filled: Vec<Range<usize>>,
}

impl EncodedBatch {
    /// The ids with -1 instead of padding, whatever the padding id.
    pub fn without_padding(&self) -> Vec<i64> {
        let mut ids = vec![-1; self.ids.len()];
        for (row, filled) in self.filled.iter().enumerate() {
            let start = row * self.context_length;
            let tokens = start + filled.start..start + filled.end;
            ids[tokens.clone()].copy_from_slice(&self.ids[tokens]);
        }
        ids
    }
}

/// Turns texts into token ids according to a set of rules.
#[derive(Debug)]
pub struct Tokenizer {
    rules: TokenizerRules,
    cutter: Cutter,
}

/// What splits text into tokens.
#[derive(Debug)]
enum Cutter {
    Clip(ClipBpe),
    Json(Box<JsonTokenizer>),
}

impl Tokenizer {
    /// Creates the tokenizer of most CLIP models, whose vocabulary is built in.
    ///
    /// # Errors
    /// [`TokenizerError::ContextLength`] for a context length that is too small or too large.
    pub fn clip(context_length: usize, clean: Clean) -> Result<Self, TokenizerError> {
        let rules = TokenizerRules::clip(context_length, clean);
        rules::check(&rules)?;
        Ok(Tokenizer { rules, cutter: Cutter::Clip(ClipBpe::new()) })
    }

    /// Creates the tokenizer of a `tokenizer.json`, given as bytes, with stored rules.
    ///
    /// # Errors
    /// [`TokenizerError::File`] if the bytes are not a valid tokenizer, [`TokenizerError::Rule`] if the rules name ids
    /// that it lacks, [`TokenizerError::Kind`] if they are CLIP's.
    pub fn from_json(bytes: &[u8], rules: TokenizerRules) -> Result<Self, TokenizerError> {
        rules::check(&rules)?;
        let TokenizerKind::TokenizerJson(json_rules) = &rules.kind else {
            return Err(TokenizerError::Kind { expected: "tokenizer_json", found: "clip_bpe" });
        };
        let cutter = JsonTokenizer::new(bytes, json_rules.clone(), rules.context_length, rules.clean)?;
        Ok(Tokenizer { rules, cutter: Cutter::Json(Box::new(cutter)) })
    }

    /// Creates the tokenizer that stored rules describe; `json` is the `tokenizer.json`, if they need one.
    ///
    /// # Errors
    /// The errors of [`Tokenizer::clip`] and [`Tokenizer::from_json`]; [`TokenizerError::File`] if the rules need a
    /// `tokenizer.json` and none is given.
    pub fn from_rules(rules: TokenizerRules, json: Option<&[u8]>) -> Result<Self, TokenizerError> {
        match (&rules.kind, json) {
            (TokenizerKind::ClipBpe {}, _) => Tokenizer::clip(rules.context_length, rules.clean),
            (TokenizerKind::TokenizerJson(_), Some(bytes)) => Tokenizer::from_json(bytes, rules),
            (TokenizerKind::TokenizerJson(_), None) => Err(TokenizerError::file(
                "tokenizer.json",
                "file",
                "the rules need this file, but it is missing",
            )),
        }
    }

    /// The rules in use.
    pub fn rules(&self) -> &TokenizerRules {
        &self.rules
    }

    /// The highest ids of a `tokenizer.json`, and the ids that it puts after a text.
    pub(super) fn vocabulary(&self) -> Option<(Highest, &[u32])> {
        match &self.cutter {
            Cutter::Json(json) => Some((json.highest(), json.suffix())),
            Cutter::Clip(_) => None,
        }
    }

    /// The length of a row of ids.
    pub fn context_length(&self) -> usize {
        self.rules.context_length
    }

    /// Encodes one text.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] if the tokenizers library fails; CLIP's own encoding never does.
    pub fn encode(&self, text: &str) -> Result<Encoded, TokenizerError> {
        let mut ids = vec![0; self.rules.context_length];
        let Filled { truncated, tokens } = self.encode_into(text, &mut ids)?;
        Ok(Encoded { ids, truncated, filled: tokens })
    }

    /// Encodes texts, spread over the threads of the current pool if there are many.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] if the tokenizers library fails on a text.
    pub fn encode_batch<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<EncodedBatch, TokenizerError> {
        let context_length = self.rules.context_length;
        let mut ids = vec![0; texts.len() * context_length];
        let rows = ids.chunks_exact_mut(context_length);
        let filled: Vec<Filled> = if texts.len() < PARALLEL_TEXTS {
            texts
                .iter()
                .zip(rows)
                .map(|(text, row)| self.encode_into(text.as_ref(), row))
                .collect::<Result<_, _>>()?
        } else {
            texts
                .par_iter()
                .zip(rows.collect::<Vec<_>>())
                .with_min_len(PARALLEL_TEXTS / 4)
                .map(|(text, row)| self.encode_into(text.as_ref(), row))
                .collect::<Result<_, _>>()?
        };
        let truncated = filled.iter().filter(|filled| filled.truncated).count();
        let filled = filled.into_iter().map(|filled| filled.tokens).collect();
        Ok(EncodedBatch { ids, context_length, truncated, filled })
    }

    /// The ids of a text that is not truncated; special ones around it may be among them.
    pub(super) fn all_ids(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        match &self.cutter {
            Cutter::Clip(clip) => {
                let text = clean::apply(self.rules.clean, text);
                // No token is shorter than a byte, and there are two special ones.
                let mut row = vec![0; text.len() + 2];
                let filled = clip.encode_into(&text, &mut row);
                Ok(row[filled.tokens].iter().map(|id| *id as u32).collect())
            }
            Cutter::Json(json) => json.text_ids(text, usize::MAX),
        }
    }

    /// Fills one row, `[context_length]`.
    fn encode_into(&self, text: &str, row: &mut [i64]) -> Result<Filled, TokenizerError> {
        match &self.cutter {
            Cutter::Clip(clip) => Ok(clip.encode_into(&clean::apply(self.rules.clean, text), row)),
            Cutter::Json(json) => json.encode_into(text, row),
        }
    }
}
