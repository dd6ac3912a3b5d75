//! Typed access to a JSON document, with the path of every value in its errors.

use crate::error::{Code, FormatError, Place, shown};
use crate::json::value::{Json, JsonValue};

/// A value of a JSON document and its path, such as `$.vision_cfg.layers`.
#[derive(Clone, Debug)]
pub struct JsonCursor<'a> {
    json: &'a Json,
    path: String,
}

impl<'a> JsonCursor<'a> {
    pub(crate) fn root(json: &'a Json) -> JsonCursor<'a> {
        JsonCursor { json, path: "$".to_owned() }
    }

    /// Path from the root, `$`. Long keys are shortened.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value itself.
    pub fn value(&self) -> &'a JsonValue {
        &self.json.value
    }

    /// Creates an error at this place; text from the file must go through [`shown`] first.
    pub fn error(&self, code: Code, cause: impl Into<String>) -> FormatError {
        FormatError::new(code, Place::Json(self.path.clone()), cause)
    }

    fn wrong_kind(&self, expected: &str) -> FormatError {
        self.error(Code::BadValue, format!("expected {expected}, found {}", self.described()))
    }

    /// A short description of the value for messages: its kind, and short values themselves.
    pub fn described(&self) -> String {
        match self.value() {
            JsonValue::Bool(value) => value.to_string(),
            JsonValue::Unsigned(value) => value.to_string(),
            JsonValue::Negative(value) => value.to_string(),
            JsonValue::Float(value) => format!("{value:?}"),
            JsonValue::String(value) => format!("the string `{}`", shown(value)),
            JsonValue::Array(items) => format!("an array of length {}", items.len()),
            other => other.kind().to_owned(),
        }
    }

    fn child(&self, key: &str, json: &'a Json) -> JsonCursor<'a> {
        let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let path = if plain {
            format!("{}.{}", self.path, shown(key))
        } else {
            format!("{}[\"{}\"]", self.path, shown(key))
        };
        JsonCursor { json, path }
    }

    fn object(&self) -> Result<&'a [(String, Json)], FormatError> {
        match self.value() {
            JsonValue::Object(members) => Ok(members),
            _ => Err(self.wrong_kind("an object")),
        }
    }

    /// The member of an object, if present; `null` counts as present.
    ///
    /// # Errors
    /// `Code::BadValue` if this is not an object.
    pub fn get(&self, key: &str) -> Result<Option<JsonCursor<'a>>, FormatError> {
        let found = self.object()?.iter().find(|(name, _)| name == key);
        Ok(found.map(|(name, json)| self.child(name, json)))
    }

    /// A required member of an object.
    ///
    /// # Errors
    /// `Code::Missing` if it is absent, `Code::BadValue` if this is not an object.
    pub fn require(&self, key: &str) -> Result<JsonCursor<'a>, FormatError> {
        self.get(key)?
            .ok_or_else(|| self.error(Code::Missing, format!("the key `{}` is missing", shown(key))))
    }

    /// The members of an object, in file order.
    ///
    /// # Errors
    /// `Code::BadValue` if this is not an object.
    pub fn members(&self) -> Result<impl Iterator<Item = (&'a str, JsonCursor<'a>)>, FormatError> {
        let members = self.object()?;
        Ok(members.iter().map(|(key, json)| (key.as_str(), self.child(key, json))))
    }

    /// The items of an array.
    ///
    /// # Errors
    /// `Code::BadValue` if this is not an array.
    pub fn items(&self) -> Result<impl ExactSizeIterator<Item = JsonCursor<'a>>, FormatError> {
        match self.value() {
            JsonValue::Array(items) => Ok(items
                .iter()
                .enumerate()
                .map(|(index, json)| JsonCursor { json, path: format!("{}[{index}]", self.path) })),
            _ => Err(self.wrong_kind("an array")),
        }
    }

    /// Refuses an object with unknown keys.
    ///
    /// # Errors
    /// `Code::UnknownKey` at the first unknown key, `Code::BadValue` if this is not an object.
    pub fn only_keys(&self, known: &[&str]) -> Result<(), FormatError> {
        for (key, json) in self.object()? {
            if !known.contains(&key.as_str()) {
                return Err(self.child(key, json).error(Code::UnknownKey, "unknown key"));
            }
        }
        Ok(())
    }

    /// Whether the value is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self.value(), JsonValue::Null)
    }

    /// The value as a string.
    ///
    /// # Errors
    /// `Code::BadValue` if it is not one.
    pub fn string(&self) -> Result<&'a str, FormatError> {
        match self.value() {
            JsonValue::String(value) => Ok(value),
            _ => Err(self.wrong_kind("a string")),
        }
    }

    /// The value as a boolean.
    ///
    /// # Errors
    /// `Code::BadValue` if it is not one.
    pub fn boolean(&self) -> Result<bool, FormatError> {
        match self.value() {
            JsonValue::Bool(value) => Ok(*value),
            _ => Err(self.wrong_kind("`true` or `false`")),
        }
    }

    /// The value as an integer from `least` to `most`.
    ///
    /// # Errors
    /// `Code::BadValue` if it is not an integer or out of range.
    pub fn integer(&self, least: usize, most: usize) -> Result<usize, FormatError> {
        match self.value() {
            JsonValue::Unsigned(value) => {
                usize::try_from(*value).ok().filter(|value| (least..=most).contains(value))
            }
            _ => None,
        }
        .ok_or_else(|| self.wrong_kind(&format!("an integer from {least} to {most}")))
    }

    /// The value as a number; an integer counts.
    ///
    /// # Errors
    /// `Code::BadValue` if it is not a number.
    pub fn number(&self) -> Result<f64, FormatError> {
        match self.value() {
            JsonValue::Unsigned(value) => Ok(*value as f64),
            JsonValue::Negative(value) => Ok(*value as f64),
            JsonValue::Float(value) => Ok(*value),
            _ => Err(self.wrong_kind("a number")),
        }
    }
}
