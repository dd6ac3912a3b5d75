//! Tokens inside a text, as transformers' tokenizers written in Python find them: before the text is cleaned.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use serde_json::Value;

use super::check::FILE;
use crate::text::{TokenizerError, clean};

/// The added tokens of a `tokenizer.json`, which split a text.
#[derive(Debug)]
pub struct SplitTokens {
    finder: AhoCorasick,
    ids: Vec<u32>,
    unknown: String,
}

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'t> {
    /// What is between tokens, not cleaned yet.
    Text(&'t str),
    /// A token's id.
    Token(u32),
}

impl SplitTokens {
    /// Takes the added tokens out of a checked `tokenizer.json`: its library would find them after cleaning.
    ///
    /// # Errors
    /// [`TokenizerError::File`] for more tokens than can be searched for at once.
    pub fn take(file: &mut Value) -> Result<SplitTokens, TokenizerError> {
        let added = file.get_mut("added_tokens").map(Value::take).unwrap_or_default();
        file["added_tokens"] = Value::Array(Vec::new());
        let token = |added: &Value| {
            let id = added["id"].as_u64().and_then(|id| u32::try_from(id).ok())?;
            Some((added["content"].as_str().filter(|content| !content.is_empty())?.to_owned(), id))
        };
        let tokens = added.as_array().into_iter().flatten().filter_map(token);
        let (contents, ids): (Vec<String>, Vec<u32>) = tokens.unzip();
        let mut finder = AhoCorasick::builder();
        // The smallest form: tokens come from a file.
        finder.kind(Some(AhoCorasickKind::ContiguousNFA)).match_kind(MatchKind::LeftmostLongest);
        let finder = finder
            .build(contents)
            .map_err(|error| TokenizerError::file(FILE, "added_tokens", error.to_string()))?;
        let place = file["model"]["unk_id"].as_u64().and_then(|id| usize::try_from(id).ok());
        let unknown = place.and_then(|place| file["model"]["vocab"][place][0].as_str()).unwrap_or_default();
        Ok(SplitTokens { finder, ids, unknown: unknown.to_owned() })
    }

    /// What encoding puts before a text that does not begin a line; without it, SentencePiece would mark its first word.
    pub fn lead(&self) -> String {
        format!("▁{}", self.unknown)
    }

    /// Splits a text at its tokens, from left to right, at the longest one wherever several begin.
    pub fn parts<'t>(&self, text: &'t str) -> Vec<Part<'t>> {
        let (mut parts, mut end) = (Vec::new(), 0);
        for found in self.finder.find_iter(text) {
            parts.extend((end < found.start()).then(|| Part::Text(&text[end..found.start()])));
            parts.push(Part::Token(self.ids[found.pattern()]));
            end = found.end();
        }
        parts.extend((end < text.len()).then(|| Part::Text(&text[end..])));
        parts
    }

    /// What is encoded of the text between two tokens; the first part has the mark of a line's beginning.
    pub fn cleaned(&self, text: &str, is_first: bool) -> String {
        let text = clean::siglip(text);
        if is_first { text } else { self.lead() + &text }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_split_at_the_longest_token() {
        let mut file = json!({
            "added_tokens": [
                { "id": 1, "content": "</s>" }, { "id": 5, "content": "cat" }, { "id": 6, "content": "cats" },
            ],
            "model": { "unk_id": 1, "vocab": [["</s>", 0.0], ["<unk>", 0.0]] },
        });
        let tokens = SplitTokens::take(&mut file).unwrap();
        assert_eq!(file["added_tokens"], json!([]), "the library does not look for them");
        assert_eq!(tokens.lead(), "▁<unk>");
        let parts = |text: &'static str| tokens.parts(text);
        assert_eq!(parts(""), []);
        assert_eq!(parts("a dog"), [Part::Text("a dog")]);
        assert_eq!(parts("catscat Cat"), [Part::Token(6), Part::Token(5), Part::Text(" Cat")]);
        assert_eq!(parts("ü</s>é "), [Part::Text("ü"), Part::Token(1), Part::Text("é ")]);
        assert_eq!(tokens.cleaned(" A b.", false), "▁<unk>a b");
        assert_eq!(tokens.cleaned("▁A  b.", true), "▁a b");
    }
}
