//! Vocabularies in files of their own: byte pairs in `vocab.json` and `merges.txt`, words of BERT in `vocab.txt`.

use serde_json::{Map, Value, json};

use super::files::WORDS;
use super::json as strict;
use crate::text::TokenizerError;

/// The `vocab` and `merges` of a `tokenizer.json`.
pub fn byte_pairs(vocabulary: &[u8], merges: &[u8]) -> Result<Map<String, Value>, TokenizerError> {
    let vocab = strict::parse(vocabulary, "vocab.json")?;
    if !vocab.is_object() {
        return Err(TokenizerError::file("vocab.json", "top level", "expected an object"));
    }
    let text = std::str::from_utf8(merges).map_err(|error| {
        TokenizerError::file("merges.txt", format!("byte {}", error.valid_up_to()), "not UTF-8")
    })?;
    let mut pairs = Vec::new();
    for (line, text) in text.lines().enumerate() {
        if text.is_empty() || text.starts_with("#version") {
            continue;
        }
        let Some((left, right)) = text.split_once(' ').filter(|(_, right)| !right.contains(' ')) else {
            let place = format!("line {}", line + 1);
            return Err(TokenizerError::file("merges.txt", place, "expected two tokens"));
        };
        pairs.push(json!([left, right]));
    }
    Ok(Map::from_iter([("vocab".to_owned(), vocab), ("merges".to_owned(), Value::Array(pairs))]))
}

/// The `vocab` of a WordPiece model: one word in each line, whose number is its id. As in the `tokenizers` library,
/// whitespace at a line's end does not count, and of a word in two lines the last one does.
pub fn word_pieces(words: &[u8]) -> Result<Map<String, Value>, TokenizerError> {
    let text = std::str::from_utf8(words)
        .map_err(|error| TokenizerError::file(WORDS, format!("byte {}", error.valid_up_to()), "not UTF-8"))?;
    let words = text.lines().enumerate().map(|(id, word)| (word.trim_end().to_owned(), json!(id)));
    let vocab: Map<String, Value> = words.collect();
    if vocab.is_empty() {
        return Err(TokenizerError::file(WORDS, "file", "it contains no words"));
    }
    Ok(Map::from_iter([("vocab".to_owned(), Value::Object(vocab))]))
}
