//! The rules that turn a model's texts into token ids, as an artifact stores them.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// The longest supported context.
const LONGEST_CONTEXT: usize = 1 << 20;

/// Everything besides the vocabulary that decides the ids of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerRules {
    /// Context length: shorter texts are padded, longer ones truncated.
    pub context_length: usize,
    /// How a text is cleaned before tokenization.
    pub clean: Clean,
    /// The tokenizer, with the rules of its kind.
    #[serde(rename = "tokenizer")]
    pub kind: TokenizerKind,
}

/// The tokenizer of a text tower.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TokenizerKind {
    /// CLIP's byte-pair encoding (`SimpleTokenizer` of open_clip); its vocabulary is built in.
    ClipBpe {},
    /// A `tokenizer.json` (`HFTokenizer` of open_clip).
    TokenizerJson(JsonRules),
}

/// What happens to the ids from a `tokenizer.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonRules {
    /// Padding id.
    pub pad_id: u32,
    /// Side of the padding.
    pub padding_side: Side,
    /// Side from which a long text is truncated.
    pub truncation_side: Side,
    /// Id of the separator that is replaced with 0, if open_clip's `strip_sep_token` is on.
    pub stripped_id: Option<u32>,
    /// Special ids around the text.
    pub mode: TokenizerMode,
    /// The source language that `mode` represents, if any, such as `eng_Latn`.
    pub language: Option<String>,
    /// Maximum number of tokens in a text, including special ones, if less than the context length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest: Option<usize>,
}

/// One end of a sequence of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The end.
    Right,
    /// The beginning.
    Left,
}

/// Special ids around the ids of the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum TokenizerMode {
    /// Those added by the post-processor of the `tokenizer.json`.
    PostProcessor,
    /// These instead, for a tokenizer with a source language.
    Template {
        /// The ids before the text.
        prefix: Vec<u32>,
        /// The ids after the text.
        suffix: Vec<u32>,
    },
    /// open_clip's `clips`: begin, text, end, padding, and the class token at the last position.
    Clips {
        /// The id before the text.
        begin_id: u32,
        /// The id after the text.
        end_id: u32,
        /// The id at the last position of the context.
        class_id: u32,
    },
}

/// How a text is cleaned before tokenization.
///
/// The first four are open_clip's, by their names in its configs. They first repair the text like ftfy and unescape
/// HTML references twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clean {
    /// Collapses whitespace; lower-cases.
    Lower,
    /// Collapses whitespace.
    Whitespace,
    /// Replaces `_` with a space, removes ASCII punctuation, lower-cases, collapses whitespace.
    Canonicalize,
    /// Replaces `_` with a space, collapses whitespace. open_clip 3.3.0 has it not, its main branch has.
    WhitespaceUnderscore,
    /// Like transformers' `SiglipTokenizer`: prepends `▁`, lower-cases, removes ASCII punctuation, collapses
    /// whitespace.
    Siglip,
    /// Leaves the text unchanged; the tokenizer's own normalizer does the rest. transformers reads texts this way.
    Nothing,
}

impl Clean {
    /// The name in open_clip's configs and in `clipway.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Clean::Lower => "lower",
            Clean::Whitespace => "whitespace",
            Clean::Canonicalize => "canonicalize",
            Clean::WhitespaceUnderscore => "whitespace_underscore",
            Clean::Siglip => "siglip",
            Clean::Nothing => "nothing",
        }
    }
}

impl TokenizerRules {
    /// The rules of open_clip's `SimpleTokenizer`.
    pub fn clip(context_length: usize, clean: Clean) -> Self {
        TokenizerRules { context_length, clean, kind: TokenizerKind::ClipBpe {} }
    }

    /// Context lengths with enough room for the special tokens.
    pub fn context_lengths(&self) -> RangeInclusive<usize> {
        let least = match &self.kind {
            TokenizerKind::ClipBpe {} => 1,
            TokenizerKind::TokenizerJson(rules) => match &rules.mode {
                TokenizerMode::PostProcessor => 1,
                TokenizerMode::Template { prefix, suffix } => (prefix.len() + suffix.len()).max(1),
                TokenizerMode::Clips { .. } => 3,
            },
        };
        least..=LONGEST_CONTEXT
    }
}
