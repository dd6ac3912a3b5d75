//! Checks of tokenizer rules that need no vocabulary.

use super::{TokenizerError, TokenizerRules};

/// Checks what can be checked without the vocabulary.
///
/// # Errors
/// [`TokenizerError::ContextLength`] if the context has no room for the special tokens around a text.
pub fn check(rules: &TokenizerRules) -> Result<(), TokenizerError> {
    let lengths = rules.context_lengths();
    if lengths.contains(&rules.context_length) {
        return Ok(());
    }
    let (least, most) = (*lengths.start(), *lengths.end());
    Err(TokenizerError::ContextLength { found: rules.context_length, least, most })
}
