//! How transformers 5.24 turns a tokenizer's ids into its own. The class's cleaning is the only cleaning.

use serde_json::Value;

use super::files::{CONFIG, TokenizerFiles};
use super::lookup::Lookup;
use crate::text::rules::check as check_rules;
use crate::text::{Clean, JsonRules, TokenizerError, TokenizerKind, TokenizerRules};

/// Default context length if a `SiglipTokenizer`'s configuration states none.
const SIGLIP_LENGTH: u64 = 64;

/// The longest row of ids, if there is a limit: a number of tokens, or one that is far too large to be one.
fn longest(stated: Option<&Value>) -> Result<Option<u64>, TokenizerError> {
    let Some(stated) = stated.filter(|stated| !stated.is_null()) else { return Ok(None) };
    match (stated.as_u64(), stated.as_f64()) {
        (Some(length), _) if length > 0 => Ok(Some(length)),
        (None, Some(length)) if length > u64::MAX as f64 => Ok(None),
        _ => {
            let cause = format!("expected a positive number of tokens, found {stated}");
            Err(TokenizerError::file(CONFIG, "model_max_length", cause))
        }
    }
}

/// Finds the rules for a tokenizer, for rows of `context_length` ids.
///
/// # Errors
/// [`TokenizerError::File`] if a file is invalid or names code, [`TokenizerError::Rule`] if there is no padding token.
pub fn rules(
    context_length: usize,
    tokenizer: &Value,
    files: &TokenizerFiles,
    class: &str,
) -> Result<TokenizerRules, TokenizerError> {
    let lookup = Lookup::new(tokenizer, files, class)?;
    let is_siglip = class == "SiglipTokenizer";
    let longest = longest(lookup.config.get("model_max_length"))?;
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
