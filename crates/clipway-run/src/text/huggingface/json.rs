//! JSON without duplicate keys.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::text::TokenizerError;

/// Parses a whole file; a duplicate key is an error.
pub fn parse(bytes: &[u8], file: &'static str) -> Result<Value, TokenizerError> {
    match serde_json::from_slice::<Strict>(bytes) {
        Ok(Strict(value)) => Ok(value),
        Err(error) => {
            let place = format!("line {}, column {}", error.line(), error.column());
            Err(TokenizerError::file(file, place, error.to_string()))
        }
    }
}

/// A value without duplicate keys.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = sequence.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("duplicate key `{key}`")));
            }
            let Strict(value) = entries.next_value()?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// A value in a file, with the path of keys that leads to it.
#[derive(Clone)]
pub struct Node<'a> {
    /// The value itself.
    pub value: &'a Value,
    file: &'static str,
    path: String,
}

impl<'a> Node<'a> {
    /// The whole file.
    pub fn root(value: &'a Value, file: &'static str) -> Self {
        Node { value, file, path: String::new() }
    }

    /// An error about this value.
    pub fn error(&self, cause: impl Into<String>) -> TokenizerError {
        let place = if self.path.is_empty() { "top level" } else { &self.path };
        TokenizerError::file(self.file, place, cause)
    }

    /// An error about this value, which is over a limit.
    pub fn too_large(&self, cause: impl Into<String>) -> TokenizerError {
        let place = if self.path.is_empty() { "top level" } else { &self.path };
        TokenizerError::too_large(self.file, place, cause)
    }

    /// Returns the entry of an object; `None` if it is missing or null.
    pub fn get(&self, key: &str) -> Result<Option<Node<'a>>, TokenizerError> {
        let entry = self.object()?.get(key).filter(|value| !value.is_null());
        Ok(entry.map(|value| self.child(key, value)))
    }

    /// Returns a required entry of an object.
    pub fn need(&self, key: &str) -> Result<Node<'a>, TokenizerError> {
        self.get(key)?.ok_or_else(|| self.error(format!("`{key}` is missing")))
    }

    /// Returns the entries of an object.
    pub fn object(&self) -> Result<&'a Map<String, Value>, TokenizerError> {
        self.value.as_object().ok_or_else(|| self.unexpected("an object"))
    }

    /// Returns the elements of an array.
    pub fn array(&self) -> Result<&'a [Value], TokenizerError> {
        self.value.as_array().map(Vec::as_slice).ok_or_else(|| self.unexpected("an array"))
    }

    /// Returns the elements of an array with their paths.
    pub fn elements(&self) -> Result<impl Iterator<Item = Node<'a>> + use<'a>, TokenizerError> {
        let parent = self.clone();
        Ok(self
            .array()?
            .iter()
            .enumerate()
            .map(move |(place, value)| parent.child(&place.to_string(), value)))
    }

    /// Returns a string.
    pub fn string(&self) -> Result<&'a str, TokenizerError> {
        self.value.as_str().ok_or_else(|| self.unexpected("a string"))
    }

    /// Returns a boolean.
    pub fn bool(&self) -> Result<bool, TokenizerError> {
        self.value.as_bool().ok_or_else(|| self.unexpected("true or false"))
    }

    /// Returns an integer from `least` to `most`.
    pub fn number(&self, least: u64, most: u64) -> Result<u64, TokenizerError> {
        let number = self.value.as_u64().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| self.unexpected(&format!("an integer from {least} to {most}")))
    }

    /// Fails if the object has a key that is not in `known`.
    pub fn only(&self, known: &[&str]) -> Result<(), TokenizerError> {
        match self.object()?.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(self.error(format!("unknown key `{key}`"))),
            None => Ok(()),
        }
    }

    /// Returns the entry for a key, with its path.
    fn child(&self, key: &str, value: &'a Value) -> Node<'a> {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Node { value, file: self.file, path }
    }

    /// The error of a value with the wrong type.
    fn unexpected(&self, expected: &str) -> TokenizerError {
        let found = match self.value {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(value) => value.to_string(),
            Value::String(_) => "a string".to_owned(),
            Value::Array(_) => "an array".to_owned(),
            Value::Object(_) => "an object".to_owned(),
        };
        self.error(format!("expected {expected}, found {found}"))
    }
}
