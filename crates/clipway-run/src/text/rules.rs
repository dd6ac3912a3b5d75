//! The rules by which a model's texts become token ids, as an artifact stores them.

use serde::{Deserialize, Serialize};

use super::{Clean, TokenizerError};

/// The shortest and the longest context that a tokeniser accepts.
const CONTEXT_LENGTHS: (usize, usize) = (1, 1 << 20);

/// Everything that decides the ids of a text, besides the vocabulary itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerRules {
    /// How many ids a text becomes: shorter ones are padded, longer ones truncated.
    pub context_length: usize,
    /// How a text is cleaned before it is cut into tokens.
    pub clean: Clean,
    /// Which tokeniser cuts it, with the rules of that kind.
    #[serde(rename = "tokenizer")]
    pub kind: TokenizerKind,
}

/// Which tokeniser cuts a text into tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TokenizerKind {
    /// CLIP's byte-pair encoding (`SimpleTokenizer` of open_clip); its vocabulary is built in.
    ClipBpe {},
    /// A `tokenizer.json` (`HFTokenizer` of open_clip).
    TokenizerJson(JsonRules),
}

/// What is done with the ids that a `tokenizer.json` gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonRules {
    /// The id that fills what is left of the context.
    pub pad_id: u32,
    /// Where the padding goes.
    pub padding_side: Side,
    /// Where a text that is too long loses tokens.
    pub truncation_side: Side,
    /// The id of the separator that is replaced by 0, if open_clip's `strip_sep_token` is on.
    pub stripped_id: Option<u32>,
    /// Which special ids stand round the text.
    pub mode: TokenizerMode,
    /// The source language that `mode` stands for, where there is one, as in `eng_Latn`.
    pub language: Option<String>,
}

/// One end of a row of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The end.
    Right,
    /// The beginning.
    Left,
}

/// Which special ids stand round the ids of the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum TokenizerMode {
    /// Those that the post-processor of the `tokenizer.json` adds.
    PostProcessor,
    /// These in their place, as of a tokeniser with a source language.
    Template {
        /// The ids before the text.
        prefix: Vec<u32>,
        /// The ids after the text.
        suffix: Vec<u32>,
    },
    /// open_clip's `clips`: begin, text, end, padding, and the class token in the last place.
    Clips {
        /// The id before the text.
        begin_id: u32,
        /// The id after the text.
        end_id: u32,
        /// The id in the last place of the context.
        class_id: u32,
    },
}

impl TokenizerRules {
    /// Gives the rules of open_clip's `SimpleTokenizer`.
    pub fn clip(context_length: usize, clean: Clean) -> Self {
        TokenizerRules { context_length, clean, kind: TokenizerKind::ClipBpe {} }
    }

    /// Checks what can be checked without the vocabulary.
    ///
    /// # Errors
    /// [`TokenizerError::ContextLength`] if the context cannot hold what the rules put round a text.
    pub fn check(&self) -> Result<(), TokenizerError> {
        let (mut least, most) = CONTEXT_LENGTHS;
        if let TokenizerKind::TokenizerJson(rules) = &self.kind {
            match &rules.mode {
                TokenizerMode::PostProcessor => {}
                TokenizerMode::Template { prefix, suffix } => least = least.max(prefix.len() + suffix.len()),
                TokenizerMode::Clips { .. } => least = 3,
            }
        }
        if (least..=most).contains(&self.context_length) {
            return Ok(());
        }
        Err(TokenizerError::ContextLength { found: self.context_length, least, most })
    }
}
