//! A trimmed vocabulary, as an artifact states it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How the vocabulary of a text tower and its tokenizer were trimmed together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrimmedVocabulary {
    /// Number of tokens that were kept.
    pub kept: usize,
    /// Number of rows of the token embedding before.
    pub of: usize,
    /// Number of texts that chose them; all of them keep their tokens.
    pub texts: usize,
    /// SHA-256 of these texts, each with a line feed at its end, hexadecimal.
    pub texts_sha256: String,
    /// What a vocabulary of every second text would have done to the others.
    pub hidden: HiddenTexts,
}

/// Texts that a choice did not see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HiddenTexts {
    /// Their number.
    pub texts: usize,
    /// How many of them would be written with other tokens.
    pub otherwise: usize,
}

/// The size and the choice, in words.
impl fmt::Display for TrimmedVocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TrimmedVocabulary { kept, of, texts, .. } = self;
        write!(f, "{kept} of {of} tokens, chosen by {texts} texts")
    }
}
