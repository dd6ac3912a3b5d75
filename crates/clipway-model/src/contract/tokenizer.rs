//! The rules by which a model's texts become token ids, as an artifact stores them.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// The longest context that a tokenizer accepts.
const LONGEST_CONTEXT: usize = 1 << 20;

/// Everything that decides the ids of a text, besides the vocabulary itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerRules {
    /// How many ids a text becomes: shorter ones are padded, longer ones truncated.
    pub context_length: usize,
    /// How a text is cleaned before it is cut into tokens.
    pub clean: Clean,
    /// Which tokenizer cuts it, with the rules of that kind.
    #[serde(rename = "tokenizer")]
    pub kind: TokenizerKind,
}

/// Which tokenizer cuts a text into tokens.
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
    /// Which special ids stand around the text.
    pub mode: TokenizerMode,
    /// The source language that `mode` stands for, if there is one, as in `eng_Latn`.
    pub language: Option<String>,
    /// How many tokens a text may have, its special ones included, where that is fewer than the context holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest: Option<usize>,
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

/// Which special ids stand around the ids of the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum TokenizerMode {
    /// Those that the post-processor of the `tokenizer.json` adds.
    PostProcessor,
    /// These in their place, as of a tokenizer with a source language.
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

/// How a text is cleaned before it is cut into tokens.
///
/// The first three are open_clip's, by the names its configs use. Those first repair the text as ftfy does and
/// resolve HTML references twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clean {
    /// Runs of white space become one space; lower case.
    Lower,
    /// Runs of white space become one space.
    Whitespace,
    /// `_` becomes a space, ASCII punctuation is removed, lower case, runs of white space become one space.
    Canonicalize,
    /// As transformers' `SiglipTokenizer` does: `▁` in front, lower case, ASCII punctuation removed, runs of white
    /// space become one space.
    Siglip,
    /// The text stays as it is; the tokenizer's own normalizer does the rest. transformers reads texts this way.
    Nothing,
}

impl Clean {
    /// The name, as open_clip's configs and `clipway.json` have it.
    pub const fn name(self) -> &'static str {
        match self {
            Clean::Lower => "lower",
            Clean::Whitespace => "whitespace",
            Clean::Canonicalize => "canonicalize",
            Clean::Siglip => "siglip",
            Clean::Nothing => "nothing",
        }
    }
}

impl TokenizerRules {
    /// Gives the rules of open_clip's `SimpleTokenizer`.
    pub fn clip(context_length: usize, clean: Clean) -> Self {
        TokenizerRules { context_length, clean, kind: TokenizerKind::ClipBpe {} }
    }

    /// The context lengths that hold what the rules put around a text.
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
