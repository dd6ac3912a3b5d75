//! How open_clip's `HFTokenizer` turns a tokenizer's ids into its own.

use clipway_model::config::HuggingFaceOptions;
use serde_json::Value;

use super::files::TokenizerFiles;
use super::lookup::Lookup;
use crate::text::rules::check as check_rules;
use crate::text::{JsonRules, Side, TokenizerError, TokenizerKind, TokenizerMode, TokenizerRules};

/// Finds the rules for a tokenizer: its padding, its sides and its special ids.
///
/// # Errors
/// [`TokenizerError::File`] if a file is invalid or names code, [`TokenizerError::Rule`] if an option needs a token
/// that the tokenizer lacks.
pub fn rules(
    options: &HuggingFaceOptions,
    tokenizer: &Value,
    files: &TokenizerFiles,
    class: &str,
) -> Result<TokenizerRules, TokenizerError> {
    let lookup = Lookup::new(tokenizer, files, class)?;
    let mode = mode(options, &lookup)?;
    let side = |part: &str, key: &str| match options.clips {
        true => Ok(Side::Right),
        false => lookup.side(part, key),
    };
    let rules = JsonRules {
        pad_id: lookup.id("pad_token")?,
        padding_side: side("padding", "padding_side")?,
        truncation_side: side("truncation", "truncation_side")?,
        stripped_id: match options.strip_sep_token && !options.clips {
            true => Some(lookup.id("sep_token")?),
            false => None,
        },
        mode,
        language: lookup.language().filter(|_| !options.clips),
        longest: None,
    };
    let rules = TokenizerRules {
        context_length: options.context_length,
        clean: options.clean,
        kind: TokenizerKind::TokenizerJson(rules),
    };
    check_rules(&rules)?;
    Ok(rules)
}

/// Finds the special ids around a text.
fn mode(options: &HuggingFaceOptions, lookup: &Lookup) -> Result<TokenizerMode, TokenizerError> {
    if options.language.is_some() && !lookup.is_nllb() {
        return Err(TokenizerError::rule("language", "this tokenizer has no source language"));
    }
    if options.clips {
        return Ok(TokenizerMode::Clips {
            begin_id: lookup.id("bos_token")?,
            end_id: lookup.id("eos_token")?,
            class_id: lookup.id("cls_token")?,
        });
    }
    if let Some(asked) = &options.language {
        lookup.language_id(asked)?;
    }
    lookup.mode()
}
