//! Cleaning of texts before tokenization.

mod badness;
mod encodings;
mod entities;
mod normalize;
mod repair;
mod substitute;

use std::borrow::Cow;

use super::Clean;
use super::characters::{is_space, lowercase};

/// Cleans a text.
pub fn apply(clean: Clean, text: &str) -> Cow<'_, str> {
    match clean {
        Clean::Nothing => Cow::Borrowed(text),
        Clean::Lower => {
            let spaced = join_words(&basic(text));
            Cow::Owned(if spaced.is_ascii() { spaced.to_ascii_lowercase() } else { lowercase(&spaced) })
        }
        Clean::Siglip => Cow::Owned(siglip(&marked(text))),
        Clean::Whitespace => Cow::Owned(join_words(&basic(text))),
        Clean::WhitespaceUnderscore => Cow::Owned(join_words(&basic(text).replace('_', " "))),
        Clean::Canonicalize => {
            let basic = basic(text);
            let mut kept = String::with_capacity(basic.len());
            for character in basic.chars() {
                match character {
                    '_' => kept.push(' '),
                    _ if character.is_ascii_punctuation() => {}
                    _ => kept.push(character),
                }
            }
            Cow::Owned(join_words(&lowercase(&kept)))
        }
    }
}

/// A text with the mark that transformers' `SiglipTokenizer` puts at its beginning.
pub fn marked(text: &str) -> String {
    format!("▁{}", text.replace('▁', " "))
}

/// A text as transformers' `SiglipTokenizer` cleans it: lower-cased, without punctuation.
pub fn siglip(text: &str) -> String {
    let mut kept = lowercase(text);
    kept.retain(|character| !character.is_ascii_punctuation());
    join_words(&kept)
}

/// Repairs a text and unescapes its HTML references; whitespace is unchanged.
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

/// Whether a text is ASCII with nothing to repair or unescape: no reference, no control character that would be
/// removed. Newlines are whitespace either way.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'%' | b'\''..=b'~' | b'\t' | b'\n' | b'\x0c' | b'\r'))
}

/// Joins the words of a text with single spaces.
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
