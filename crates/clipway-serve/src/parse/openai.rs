//! `/v1/embeddings` as OpenAI defines it, and the ways in which infinity, Jina and vLLM send images there.

use clipway_formats::{JsonCursor, JsonValue};

use super::common::{
    Input, ParseLimits, TOKEN_IDS, flag, not_one_of, one_or_many, optional, unsupported, word,
};
use super::image::image;
use crate::error::RequestError;

/// How features are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// A list of numbers.
    Float,
    /// Little-endian f32 in base 64.
    Base64,
}

/// A request for embeddings.
#[derive(Debug, PartialEq)]
pub struct EmbeddingsRequest {
    /// What to embed.
    pub inputs: Vec<Input>,
    /// How features are written.
    pub encoding: Encoding,
    /// Whether features get length 1.
    pub normalize: bool,
    /// Whether a text that is longer than the context is truncated, instead of refused.
    pub truncate: bool,
    /// Whether good inputs are answered where others are refused.
    pub partial: bool,
}

/// Keys that are understood. `user` is OpenAI's name for the end user, and has no effect.
const KEYS: [&str; 13] = [
    "input",
    "messages",
    "model",
    "encoding_format",
    "embedding_type",
    "dimensions",
    "user",
    "modality",
    "normalized",
    "normalize",
    "truncate",
    "partial",
    "task",
];

/// Parses a request.
///
/// # Errors
/// [`RequestError`], with the path of what is wrong.
pub fn parse_embeddings(body: &[u8], limits: &ParseLimits) -> Result<EmbeddingsRequest, RequestError> {
    let json = limits.json(body)?;
    let root = json.root();
    root.only_keys(&KEYS)?;
    if let Some(task) = optional(&root, "task")? {
        return Err(unsupported(task.path(), "a task: a CLIP model has one embedding for all"));
    }
    let name = root.require("model")?.string()?;
    limits.check_model(Some(name))?;
    limits.check_width(root.get("dimensions")?)?;
    let modality = word(&root, "modality")?.unwrap_or("text");
    let inputs = match (optional(&root, "input")?, optional(&root, "messages")?) {
        (Some(input), None) => inputs(input, modality, limits)?,
        (None, Some(messages)) => vec![message(&messages, limits)?],
        (None, None) => return Err(RequestError::Missing("the key `input` is missing".to_owned())),
        (Some(_), Some(messages)) => return Err(not_one_of(&messages, "`input` or `messages`, not both")),
    };
    limits.check_count(inputs.len())?;
    Ok(EmbeddingsRequest {
        inputs,
        encoding: encoding(&root)?,
        normalize: flag(&root, "normalized", true)? && flag(&root, "normalize", true)?,
        truncate: flag(&root, "truncate", true)?,
        partial: flag(&root, "partial", false)?,
    })
}

fn encoding(root: &JsonCursor<'_>) -> Result<Encoding, RequestError> {
    for key in ["encoding_format", "embedding_type"] {
        if let Some(cursor) = optional(root, key)? {
            return match cursor.string()? {
                "float" => Ok(Encoding::Float),
                "base64" => Ok(Encoding::Base64),
                _ => Err(not_one_of(&cursor, "`float` or `base64`")),
            };
        }
    }
    Ok(Encoding::Float)
}

/// Strings of one modality (OpenAI, infinity), or objects with a text or an image (Jina).
fn inputs(cursor: JsonCursor<'_>, modality: &str, limits: &ParseLimits) -> Result<Vec<Input>, RequestError> {
    let is_image = match modality {
        "text" => false,
        "image" => true,
        other => {
            let what = format!("the modality `{}`", clipway_formats::shown(other));
            return Err(unsupported("$.modality", what));
        }
    };
    let items = one_or_many(cursor)?;
    limits.check_count(items.len())?;
    let one = |item: &JsonCursor<'_>| match item.value() {
        JsonValue::String(_) if is_image => image(item, false, limits),
        JsonValue::String(text) => limits.text(item.path(), text),
        JsonValue::Object(_) => jina(item, limits),
        JsonValue::Unsigned(_) | JsonValue::Array(_) => Err(unsupported(item.path(), TOKEN_IDS)),
        _ => Err(not_one_of(item, "a string, or an object with `text` or `image`")),
    };
    items.iter().map(one).collect()
}

fn jina(item: &JsonCursor<'_>, limits: &ParseLimits) -> Result<Input, RequestError> {
    item.only_keys(&["text", "image"])?;
    match (optional(item, "text")?, optional(item, "image")?) {
        (Some(text), None) => limits.text(text.path(), text.string()?),
        (None, Some(cursor)) => image(&cursor, true, limits),
        (None, None) => Err(RequestError::Missing(format!("`{}` has no `text` or `image`", item.path()))),
        (Some(_), Some(image)) => {
            Err(unsupported(image.path(), "an embedding of a text and an image together"))
        }
    }
}

/// The one part of the one message that vLLM's clients send.
fn message(messages: &JsonCursor<'_>, limits: &ParseLimits) -> Result<Input, RequestError> {
    let messages: Vec<JsonCursor<'_>> = messages.items()?.collect();
    let [message] = &messages[..] else {
        return Err(unsupported("$.messages", "any number of messages but one"));
    };
    message.only_keys(&["role", "content"])?;
    let content = message.require("content")?;
    if let JsonValue::String(text) = content.value() {
        return limits.text(content.path(), text);
    }
    let mut found = None;
    for part in content.items()? {
        let input = match message_part(&part)? {
            // Clients put an empty text, or the prompt of a generative model, beside the image.
            MessagePart::Text(text) if text.string()?.is_empty() => continue,
            MessagePart::Text(text) => limits.text(text.path(), text.string()?)?,
            MessagePart::Image(address) => image(&address, false, limits)?,
        };
        if found.replace(input).is_some() {
            return Err(unsupported(content.path(), "an embedding of a text and an image together"));
        }
    }
    found.ok_or_else(|| not_one_of(&content, "a text or an image"))
}

/// A part of a message.
pub(super) enum MessagePart<'a> {
    /// A text.
    Text(JsonCursor<'a>),
    /// The address of an image.
    Image(JsonCursor<'a>),
}

/// `{"type": "text", "text": …}` or `{"type": "image_url", "image_url": {"url": …}}`.
pub(super) fn message_part<'a>(part: &JsonCursor<'a>) -> Result<MessagePart<'a>, RequestError> {
    let kind = part.require("type")?;
    match kind.string()? {
        "text" => {
            part.only_keys(&["type", "text"])?;
            Ok(MessagePart::Text(part.require("text")?))
        }
        "image_url" => {
            part.only_keys(&["type", "image_url"])?;
            let address = part.require("image_url")?;
            address.only_keys(&["url", "detail"])?;
            Ok(MessagePart::Image(address.require("url")?))
        }
        _ => Err(not_one_of(&kind, "`text` or `image_url`")),
    }
}
