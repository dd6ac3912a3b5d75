//! The rules by which transformers 5.24 makes ids of a tokenizer's: the class's cleaning is all the cleaning there is.

use serde_json::Value;

use super::files::TokenizerFiles;
use super::lookup::Lookup;
use crate::text::rules::check as check_rules;
use crate::text::{Clean, JsonRules, TokenizerError, TokenizerKind, TokenizerRules};

/// Tokens of a text where the configuration of a `SiglipTokenizer` gives none.
const SIGLIP_LENGTH: u64 = 64;

/// Finds the rules for a tokenizer, for rows of `context_length` ids.
///
/// # Errors
/// [`TokenizerError::File`] if a file is unsound or names code, [`TokenizerError::Rule`] if there is no token to pad
/// with.
pub fn rules(
    context_length: usize,
    tokenizer: &Value,
    files: &TokenizerFiles,
    class: &str,
) -> Result<TokenizerRules, TokenizerError> {
    let lookup = Lookup::new(tokenizer, files, class)?;
    let is_siglip = class == "SiglipTokenizer";
    let longest = lookup.config.get("model_max_length").and_then(Value::as_u64);
    let longest = longest.or_else(|| is_siglip.then_some(SIGLIP_LENGTH));
    let longest = longest.and_then(|length| usize::try_from(length).ok());
    let rules = JsonRules {
        pad_id: lookup.id("pad_token")?,
        padding_side: lookup.side("padding", "padding_side")?,
        truncation_side: lookup.side("truncation", "truncation_side")?,
        stripped_id: None,
        mode: lookup.mode()?,
        language: lookup.language(),
        longest: longest.filter(|length| *length < context_length),
    };
    let clean = if is_siglip && files.sentence_piece.is_some() { Clean::Siglip } else { Clean::Nothing };
    let rules = TokenizerRules { context_length, clean, kind: TokenizerKind::TokenizerJson(rules) };
    check_rules(&rules)?;
    Ok(rules)
}
