//! Cleaning of texts before they are cut into tokens.

mod badness;
mod encodings;
mod entities;
mod normalize;
mod repair;
mod substitute;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::characters::{is_space, lowercase};

/// How a text is cleaned: open_clip's three ways, by the names its configs use.
///
/// All of them first repair the text as ftfy does and resolve HTML references twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clean {
    /// Runs of white space become one space; lower case.
    Lower,
    /// Runs of white space become one space.
    Whitespace,
    /// `_` becomes a space, ASCII punctuation goes, lower case, runs of white space become one space.
    Canonicalize,
}

impl Clean {
    /// Finds a way of cleaning by the name that open_clip's configs use.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "lower" => Some(Clean::Lower),
            "whitespace" => Some(Clean::Whitespace),
            "canonicalize" => Some(Clean::Canonicalize),
            _ => None,
        }
    }

    /// Cleans a text.
    pub fn apply(self, text: &str) -> String {
        let basic = basic(text);
        match self {
            Clean::Lower if basic.is_ascii() => {
                let mut spaced = join_words(&basic);
                spaced.make_ascii_lowercase();
                spaced
            }
            Clean::Lower => lowercase(&join_words(&basic)),
            Clean::Whitespace => join_words(&basic),
            Clean::Canonicalize => {
                let mut kept = String::with_capacity(basic.len());
                for character in basic.chars() {
                    match character {
                        '_' => kept.push(' '),
                        _ if character.is_ascii_punctuation() => {}
                        _ => kept.push(character),
                    }
                }
                join_words(&lowercase(&kept))
            }
        }
    }
}

/// Repairs a text and resolves its HTML references; white space is left as it stands.
fn basic(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let repaired = repair::fix_text(text);
    if !repaired.contains('&') {
        return Cow::Owned(repaired);
    }
    Cow::Owned(entities::unescape(&entities::unescape(&repaired)))
}

/// Tells whether a text is ASCII with nothing to repair or resolve: no reference, no control character that
/// would be removed. Line ends are white space either way.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'%' | b'\''..=b'~' | b'\t' | b'\n' | b'\x0c' | b'\r'))
}

/// Joins the words of a text by single spaces.
fn join_words(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    for word in text.split(is_space).filter(|word| !word.is_empty()) {
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(word);
    }
    joined
}
