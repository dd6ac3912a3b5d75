//! What a server says as JSON, parsed once, strictly. Parts that are missing or of another kind read as nothing.

use clipway_formats::{Json, JsonCursor};

use crate::HubError;
use crate::tree;

/// A server's answer.
pub(crate) struct Told(Json);

impl Told {
    /// Parses the bytes of an answer of `host`.
    pub fn parse(bytes: &[u8], host: &str) -> Result<Told, HubError> {
        tree::parse(bytes, host).map(Told)
    }

    /// A member of the answer.
    pub fn get(&self, key: &str) -> Part<'_> {
        Part(Some(self.0.root())).get(key)
    }
}

/// A part of an answer, which may be missing.
#[derive(Clone)]
pub(crate) struct Part<'a>(Option<JsonCursor<'a>>);

impl<'a> Part<'a> {
    /// A member of an object.
    pub fn get(&self, key: &str) -> Part<'a> {
        Part(self.0.as_ref().and_then(|part| part.get(key).ok().flatten()))
    }

    /// The items of a list; none if it is not one.
    pub fn items(&self) -> Vec<Part<'a>> {
        let items = self.0.as_ref().and_then(|part| part.items().ok());
        items.into_iter().flatten().map(|item| Part(Some(item))).collect()
    }

    /// Names of an object's members.
    pub fn keys(&self) -> Vec<&'a str> {
        let members = self.0.as_ref().and_then(|part| part.members().ok());
        members.into_iter().flatten().map(|(key, _)| key).collect()
    }

    /// A text.
    pub fn text(&self) -> Option<&'a str> {
        self.0.as_ref().and_then(|part| part.string().ok())
    }

    /// Whether it is `true`.
    pub fn is_true(&self) -> bool {
        self.0.as_ref().is_some_and(|part| part.boolean() == Ok(true))
    }

    /// Whether it is there, `null` or not.
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_of_another_kind_is_nothing() {
        let told = Told::parse(br#"{"a":[{"b":"c","d":true}],"e":null}"#, "h").unwrap();
        let item = &told.get("a").items()[0];
        assert_eq!((item.get("b").text(), item.get("d").is_true()), (Some("c"), true));
        assert_eq!((item.get("d").text(), item.get("b").is_true()), (None, false));
        assert!(told.get("e").is_there() && !told.get("f").is_there() && !told.get("e").get("x").is_there());
        assert!(told.get("e").items().is_empty() && item.keys() == ["b", "d"]);
        assert!(Told::parse(br#"{"a":1,"a":2}"#, "h").is_err(), "the parser is the strict one");
    }
}
