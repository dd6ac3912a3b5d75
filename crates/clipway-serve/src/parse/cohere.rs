//! `/v2/embed` as Cohere defines it.

use clipway_formats::JsonCursor;

use super::common::{Input, ParseLimits, not_one_of, optional, unsupported, word};
use super::image::image;
use super::openai::{MessagePart, message_part};
use crate::error::RequestError;

/// Values of `input_type`. A CLIP model has one embedding for all of them.
const INPUT_TYPES: [&str; 5] = ["search_document", "search_query", "classification", "clustering", "image"];

/// A request for embeddings.
#[derive(Debug, PartialEq)]
pub struct CohereRequest {
    /// What to embed.
    pub inputs: Vec<Input>,
    /// Whether lists of numbers are wanted.
    pub float: bool,
    /// Whether base 64 is wanted.
    pub base64: bool,
    /// Whether a text that is longer than the context is truncated, instead of refused.
    pub truncate: bool,
}

/// Parses a request.
///
/// # Errors
/// [`RequestError`], with the path of what is wrong.
pub fn parse_cohere(body: &[u8], limits: &ParseLimits) -> Result<CohereRequest, RequestError> {
    let json = limits.json(body)?;
    let root = json.root();
    let keys = [
        "model",
        "texts",
        "images",
        "inputs",
        "input_type",
        "embedding_types",
        "output_dimension",
        "truncate",
        "max_tokens",
        "priority",
    ];
    root.only_keys(&keys)?;
    limits.check_model(Some(root.require("model")?.string()?))?;
    limits.check_width(root.get("output_dimension")?)?;
    if let Some(input_type) = optional(&root, "input_type")?
        && !INPUT_TYPES.contains(&input_type.string()?)
    {
        return Err(not_one_of(&input_type, &INPUT_TYPES.map(|name| format!("`{name}`")).join(", ")));
    }
    for key in ["max_tokens", "priority"] {
        if let Some(found) = optional(&root, key)? {
            return Err(unsupported(found.path(), "it"));
        }
    }
    let truncate = match word(&root, "truncate")? {
        None | Some("END") => true,
        Some("NONE") => false,
        Some(_) => return Err(not_one_of(&root.require("truncate")?, "`NONE` or `END`")),
    };
    let (mut float, mut base64) = (false, false);
    match optional(&root, "embedding_types")? {
        None => float = true,
        Some(types) => {
            for one in types.items()? {
                match one.string()? {
                    "float" => float = true,
                    "base64" => base64 = true,
                    _ => return Err(not_one_of(&one, "`float` or `base64`")),
                }
            }
        }
    }
    if !float && !base64 {
        return Err(RequestError::Missing("`embedding_types` is empty".to_owned()));
    }
    let inputs = inputs(&root, limits)?;
    limits.check_count(inputs.len())?;
    Ok(CohereRequest { inputs, float, base64, truncate })
}

fn inputs(root: &JsonCursor<'_>, limits: &ParseLimits) -> Result<Vec<Input>, RequestError> {
    let mut given = Vec::new();
    for key in ["texts", "images", "inputs"] {
        given.extend(optional(root, key)?.map(|cursor| (key, cursor)));
    }
    let [(key, cursor)] = &given[..] else {
        return Err(RequestError::Missing("expected one of `texts`, `images` and `inputs`".to_owned()));
    };
    let items = cursor.items()?;
    limits.check_count(items.len())?;
    let one = |item: JsonCursor<'_>| match *key {
        "texts" => limits.text(item.path(), item.string()?),
        "images" => image(&item, false, limits),
        _ => content(&item, limits),
    };
    items.map(one).collect()
}

/// `{"content": [{"type": "text", "text": …}]}` or `{"content": [{"type": "image_url", …}]}`.
fn content(item: &JsonCursor<'_>, limits: &ParseLimits) -> Result<Input, RequestError> {
    item.only_keys(&["content"])?;
    let parts: Vec<JsonCursor<'_>> = item.require("content")?.items()?.collect();
    let [part] = &parts[..] else {
        return Err(unsupported(item.path(), "an embedding of several parts together"));
    };
    match message_part(part)? {
        MessagePart::Text(text) => limits.text(text.path(), text.string()?),
        MessagePart::Image(address) => image(&address, false, limits),
    }
}
