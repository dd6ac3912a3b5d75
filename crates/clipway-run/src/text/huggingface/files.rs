//! Checks any tokenizer file, by its name.

use serde_json::{Map, Value};

use super::check::{FILE, check_tokenizer_json};
use super::json;
use crate::text::{TokenizerError, check_clip_vocabulary};

/// The other files' names in errors.
pub const CONFIG: &str = "tokenizer_config.json";
pub const SPECIAL_TOKENS_MAP: &str = "special_tokens_map.json";

/// Name of a WordPiece's vocabulary.
pub const WORDS: &str = "vocab.txt";

/// The files of a Hugging Face tokenizer, as bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenizerFiles<'a> {
    /// `tokenizer.json`.
    pub tokenizer: Option<&'a [u8]>,
    /// `tokenizer_config.json`.
    pub config: Option<&'a [u8]>,
    /// `special_tokens_map.json`, an additional file in older folders.
    pub special_tokens_map: Option<&'a [u8]>,
    /// `vocab.json` of a byte-pair encoding.
    pub vocabulary: Option<&'a [u8]>,
    /// `merges.txt` of a byte-pair encoding.
    pub merges: Option<&'a [u8]>,
    /// `added_tokens.json`, an additional file in older folders.
    pub added_tokens: Option<&'a [u8]>,
    /// `spiece.model`, a SentencePiece model.
    pub sentence_piece: Option<&'a [u8]>,
    /// `vocab.txt` of a WordPiece, one word in each line.
    pub words: Option<&'a [u8]>,
    /// transformers' `config.json`, which names the model type.
    pub model: Option<&'a [u8]>,
}

impl<'a> TokenizerFiles<'a> {
    /// Names of the tokenizer files that an artifact carries along.
    pub const NAMES: [&'static str; 8] = [
        FILE,
        CONFIG,
        SPECIAL_TOKENS_MAP,
        "vocab.json",
        "merges.txt",
        "added_tokens.json",
        "spiece.model",
        WORDS,
    ];

    /// Names of the files of tiktoken's encodings, which an artifact does not carry along: it has a `tokenizer.json` made of
    /// one.
    pub const RANKS: [&'static str; 4] =
        ["r50k_base.tiktoken", "p50k_base.tiktoken", "cl100k_base.tiktoken", "o200k_base.tiktoken"];

    /// Selects the files by their names.
    pub fn of(files: &'a [(String, Vec<u8>)]) -> Self {
        let file = |name: &str| files.iter().find(|(n, _)| n == name).map(|(_, bytes)| bytes.as_slice());
        let [tokenizer, config, special_tokens_map, vocabulary, merges, added_tokens, sentence_piece, words] =
            TokenizerFiles::NAMES.map(file);
        TokenizerFiles {
            tokenizer,
            config,
            special_tokens_map,
            vocabulary,
            merges,
            added_tokens,
            sentence_piece,
            words,
            model: file("config.json"),
        }
    }

    /// Whether there is a vocabulary in any form.
    pub fn has_vocabulary(&self) -> bool {
        self.words.is_some() || self.has_other_vocabulary()
    }

    /// Whether there is a vocabulary besides `vocab.txt`.
    pub fn has_other_vocabulary(&self) -> bool {
        let pairs = self.vocabulary.is_some() && self.merges.is_some();
        self.tokenizer.is_some() || self.sentence_piece.is_some() || pairs
    }
}

/// Checks one tokenizer file: CLIP's vocabulary (`….txt.gz`), a `tokenizer.json`, or a configuration, which is a JSON
/// object with a `tokenizer_class` and no model.
///
/// # Errors
/// [`TokenizerError::File`] with the place and the problem; SentencePiece models (`….model`) are not supported.
pub fn check_tokenizer_file(name: &str, bytes: &[u8]) -> Result<(), TokenizerError> {
    if name.ends_with(".gz") {
        return check_clip_vocabulary(bytes);
    }
    if name.ends_with(".model") {
        let cause = "SentencePiece models are not supported; convert it to a tokenizer.json";
        return Err(TokenizerError::file("SentencePiece model", "file", cause));
    }
    let is_config = match json::parse(bytes, FILE)? {
        Value::Object(file) => file.contains_key("tokenizer_class") && !file.contains_key("model"),
        _ => false,
    };
    if is_config {
        return parse_config(bytes, CONFIG).map(|_| ());
    }
    check_tokenizer_json(bytes)
}

/// Parses a configuration, which must not name any code.
pub fn parse_config(bytes: &[u8], file: &'static str) -> Result<Map<String, Value>, TokenizerError> {
    match json::parse(bytes, file)? {
        Value::Object(config) if config.contains_key("auto_map") => Err(TokenizerError::file(
            file,
            "auto_map",
            "the tokenizer needs code of its own, which is never run",
        )),
        Value::Object(config) => Ok(config),
        _ => Err(TokenizerError::file(file, "top level", "expected an object")),
    }
}

/// The configuration as transformers completes it: a `special_tokens_map.json` goes before it, unless it lists all added
/// tokens itself.
///
/// # Errors
/// The errors of [`parse_config`].
pub fn settings(files: &TokenizerFiles) -> Result<Map<String, Value>, TokenizerError> {
    let mut config = files.config.map(|bytes| parse_config(bytes, CONFIG)).transpose()?.unwrap_or_default();
    let map = files.special_tokens_map.map(|bytes| parse_config(bytes, SPECIAL_TOKENS_MAP)).transpose()?;
    if !config.contains_key("added_tokens_decoder") {
        config.extend(map.unwrap_or_default());
    }
    Ok(config)
}

/// Refuses options of the configuration that change ids and are not supported.
///
/// # Errors
/// [`TokenizerError::File`] with the option.
pub fn check_options(files: &TokenizerFiles) -> Result<(), TokenizerError> {
    let config = files.config.map(|bytes| parse_config(bytes, CONFIG)).transpose()?.unwrap_or_default();
    match config.get("split_special_tokens") {
        None | Some(Value::Null | Value::Bool(false)) => Ok(()),
        Some(_) => {
            let cause = "special tokens inside texts would be split, which is not supported";
            Err(TokenizerError::file(CONFIG, "split_special_tokens", cause))
        }
    }
}
