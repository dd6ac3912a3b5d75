//! What every request has in common: limits, inputs, names of models.

use std::sync::Arc;

use clipway_fetch::{Address, Hosts};
use clipway_formats::{FormatError, Json, JsonCursor, JsonLimits, JsonValue, shown};

use crate::error::RequestError;
use crate::limits::Limits;

/// What a parser needs to know of the server.
#[derive(Clone, Debug)]
pub struct ParseLimits {
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Depth of a JSON document.
    pub json_depth: usize,
    /// Texts and images of a request together.
    pub inputs: usize,
    /// Bytes of one text.
    pub text_bytes: usize,
    /// Bytes of one image file.
    pub image_bytes: usize,
    /// Names of the model.
    pub names: Vec<String>,
    /// Values of a feature.
    pub width: usize,
    /// Hosts from which images are fetched.
    pub image_hosts: Arc<Hosts>,
}

impl ParseLimits {
    /// The limits of a server with a model of these names and this width, which fetches images from these hosts.
    pub fn of(limits: &Limits, names: &[String], width: usize, image_hosts: Arc<Hosts>) -> ParseLimits {
        let &Limits { body_bytes, json_depth, inputs, text_bytes, image_bytes, .. } = limits;
        let names = names.to_vec();
        ParseLimits { body_bytes, json_depth, inputs, text_bytes, image_bytes, names, width, image_hosts }
    }

    /// Parses a body.
    pub(super) fn json(&self, body: &[u8]) -> Result<Json, FormatError> {
        // Each input takes at most a handful of values, however it is wrapped.
        let values = 4096 + 16 * self.inputs;
        let (bytes, depth) = (self.body_bytes, self.json_depth);
        Json::parse(body, JsonLimits { bytes, depth, values, byte_order_mark: false })
    }

    /// Checks the name of the model, if the request has one.
    pub(super) fn check_model(&self, name: Option<&str>) -> Result<(), RequestError> {
        match name {
            Some(name) if !self.names.iter().any(|known| known == name) => {
                Err(RequestError::UnknownModel { asked: shown(name), names: self.names.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Checks that a requested width is the model's.
    pub(super) fn check_width(&self, dimensions: Option<JsonCursor<'_>>) -> Result<(), RequestError> {
        let Some(cursor) = dimensions.filter(|cursor| !cursor.is_null()) else { return Ok(()) };
        match cursor.integer(1, usize::MAX)? {
            width if width == self.width => Ok(()),
            _ => Err(RequestError::BadValue {
                place: cursor.path().to_owned(),
                expected: format!("{}, the model's width", self.width),
                found: cursor.described(),
            }),
        }
    }

    /// A text, within its limit.
    pub(super) fn text(&self, place: &str, text: &str) -> Result<Input, RequestError> {
        self.check_text(place, text.len())?;
        Ok(Input::Text(text.to_owned()))
    }

    /// Checks the size of a text.
    pub(super) fn check_text(&self, place: &str, bytes: usize) -> Result<(), RequestError> {
        within(place, bytes, self.text_bytes)
    }

    /// Checks the number of inputs.
    pub(super) fn check_count(&self, count: usize) -> Result<(), RequestError> {
        let (found, limit) = (count as u64, self.inputs as u64);
        match count {
            0 => Err(RequestError::Missing("there are no inputs".to_owned())),
            _ if found > limit => {
                Err(RequestError::TooLarge { what: "the request".to_owned(), found, unit: "inputs", limit })
            }
            _ => Ok(()),
        }
    }
}

/// What services of language models take, and a CLIP model's tokens are not for.
pub(super) const TOKEN_IDS: &str = "an input of token ids";

/// Something to embed.
#[derive(Clone, PartialEq, Eq)]
pub enum Input {
    /// A text.
    Text(String),
    /// The bytes of an image file.
    Image(Vec<u8>),
    /// The address of an image, of an allowed host.
    Remote(Address),
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Input::Text(text) => write!(f, "Text({})", shown(text)),
            Input::Image(bytes) => write!(f, "Image({} bytes)", bytes.len()),
            Input::Remote(address) => write!(f, "{address:?}"),
        }
    }
}

/// A member that may be absent or `null`.
pub(super) fn optional<'a>(
    object: &JsonCursor<'a>,
    key: &str,
) -> Result<Option<JsonCursor<'a>>, FormatError> {
    Ok(object.get(key)?.filter(|cursor| !cursor.is_null()))
}

/// A member that is `true` or `false`, or its default.
pub(super) fn flag(object: &JsonCursor<'_>, key: &str, default: bool) -> Result<bool, FormatError> {
    optional(object, key)?.map_or(Ok(default), |cursor| cursor.boolean())
}

/// A member that is a string.
pub(super) fn word<'a>(object: &JsonCursor<'a>, key: &str) -> Result<Option<&'a str>, FormatError> {
    optional(object, key)?.map(|cursor| cursor.string()).transpose()
}

/// The items of a list, or the one value that stands for a list of one.
pub(super) fn one_or_many<'a>(cursor: JsonCursor<'a>) -> Result<Vec<JsonCursor<'a>>, FormatError> {
    match cursor.value() {
        JsonValue::Array(_) => Ok(cursor.items()?.collect()),
        _ => Ok(vec![cursor]),
    }
}

/// The items of a member that is a list or the one value that stands for it; none if it is absent.
pub(super) fn many<'a>(object: &JsonCursor<'a>, key: &str) -> Result<Vec<JsonCursor<'a>>, FormatError> {
    Ok(optional(object, key)?.map(one_or_many).transpose()?.unwrap_or_default())
}

/// Checks a number of bytes.
pub(super) fn within(place: &str, bytes: usize, limit: usize) -> Result<(), RequestError> {
    let (found, limit) = (bytes as u64, limit as u64);
    match found > limit {
        true => Err(RequestError::TooLarge { what: format!("`{place}`"), found, unit: "bytes", limit }),
        false => Ok(()),
    }
}

/// The error of something valid that this server does not do.
pub(super) fn unsupported(place: &str, what: impl Into<String>) -> RequestError {
    RequestError::Unsupported { place: place.to_owned(), what: what.into() }
}

/// The error of a value that is not one of a few.
pub(super) fn not_one_of(cursor: &JsonCursor<'_>, expected: &str) -> RequestError {
    RequestError::BadValue {
        place: cursor.path().to_owned(),
        expected: expected.to_owned(),
        found: cursor.described(),
    }
}
