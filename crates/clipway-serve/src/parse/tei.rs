//! `/embed` as text-embeddings-inference defines it.

use clipway_formats::JsonValue;

use super::common::{Input, ParseLimits, TOKEN_IDS, flag, one_or_many, optional, unsupported, word};
use crate::error::RequestError;

/// A request for embeddings of texts.
#[derive(Debug, PartialEq)]
pub struct TeiRequest {
    /// The texts.
    pub inputs: Vec<Input>,
    /// Whether features get length 1.
    pub normalize: bool,
    /// Whether a text that is longer than the context is truncated, instead of refused.
    pub truncate: bool,
}

/// Parses a request.
///
/// # Errors
/// [`RequestError`], with the path of what is wrong.
pub fn parse_tei(body: &[u8], limits: &ParseLimits) -> Result<TeiRequest, RequestError> {
    let json = limits.json(body)?;
    let root = json.root();
    root.only_keys(&[
        "inputs",
        "truncate",
        "truncation_direction",
        "prompt_name",
        "normalize",
        "dimensions",
    ])?;
    limits.check_width(root.get("dimensions")?)?;
    if optional(&root, "prompt_name")?.is_some() {
        return Err(unsupported("$.prompt_name", "a prompt by name"));
    }
    match word(&root, "truncation_direction")? {
        None => {}
        Some(direction) if direction.eq_ignore_ascii_case("right") => {}
        Some(_) => return Err(unsupported("$.truncation_direction", "truncation from the left")),
    }
    let items = one_or_many(root.require("inputs")?)?;
    limits.check_count(items.len())?;
    let mut inputs = Vec::with_capacity(items.len());
    for item in items {
        if matches!(item.value(), JsonValue::Unsigned(_) | JsonValue::Array(_)) {
            return Err(unsupported(item.path(), TOKEN_IDS));
        }
        inputs.push(limits.text(item.path(), item.string()?)?);
    }
    let (normalize, truncate) = (flag(&root, "normalize", true)?, flag(&root, "truncate", true)?);
    Ok(TeiRequest { inputs, normalize, truncate })
}
