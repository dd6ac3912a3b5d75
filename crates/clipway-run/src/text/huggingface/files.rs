//! Checking any one file of a tokeniser, by its name.

use serde_json::Value;

use super::options::parse_config;
use super::{FILE, check_tokenizer_json, json};
use crate::text::{TokenizerError, check_clip_vocabulary};

/// Checks one file of a tokeniser: CLIP's vocabulary (`….txt.gz`), a `tokenizer.json`, or a configuration,
/// which is a JSON object that names a `tokenizer_class` and holds no model.
///
/// # Errors
/// [`TokenizerError::File`] says where and what is wrong; SentencePiece models (`….model`) are not read.
pub fn check_tokenizer_file(name: &str, bytes: &[u8]) -> Result<(), TokenizerError> {
    if name.ends_with(".gz") {
        return check_clip_vocabulary(bytes);
    }
    if name.ends_with(".model") {
        let cause = "SentencePiece models are not read; convert it to a tokenizer.json";
        return Err(TokenizerError::file("SentencePiece model", "file", cause));
    }
    let is_config = match json::parse(bytes, FILE)? {
        Value::Object(file) => file.contains_key("tokenizer_class") && !file.contains_key("model"),
        _ => false,
    };
    if is_config {
        return parse_config(bytes, "tokenizer_config.json").map(|_| ());
    }
    check_tokenizer_json(bytes)
}
