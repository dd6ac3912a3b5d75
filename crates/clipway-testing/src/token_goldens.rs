//! Checks tokenizers against a folder of texts and the ids that open_clip assigns to them.
//!
//! The folder holds `tokens.json` (`texts`, and `cases` by name: a kind, its options and `ids`, one row per text) and,
//! for cases of kind `HFTokenizer`, the files of each tokenizer in `tokenizers/NAME/`.

use std::fs;
use std::path::Path;

use clipway_model::config::{ModelConfig, TextConfig};
use clipway_run::text::{
    self, HuggingFaceOptions, Reader, Tokenizer, TokenizerFiles, TokenizerRules, TokenizerSource,
};
use serde_json::{Map, Value, json};
use thiserror::Error;

/// The outcome of one case of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenCase {
    /// The case's name.
    pub name: String,
    /// Whether the ids of every text match.
    pub passed: bool,
    /// Number of texts compared.
    pub texts: usize,
    /// Indices of the texts whose ids differ.
    pub mismatches: Vec<usize>,
    /// Why the case failed; empty if it passed.
    pub reason: String,
}

/// Why a folder could not be checked at all.
#[derive(Debug, Error)]
pub enum TokenGoldensError {
    /// The file cannot be read.
    #[error("`{path}`: {source}")]
    Read {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The file has an unexpected shape.
    #[error("`{path}`: {cause}")]
    Shape {
        /// The file.
        path: String,
        /// The cause.
        cause: String,
    },
    /// The file holds no texts or no cases: comparing nothing is a failure.
    #[error("`{path}` holds no {what}")]
    Empty {
        /// The file.
        path: String,
        /// What is missing.
        what: &'static str,
    },
}

/// Runs every case of a folder.
///
/// # Errors
/// [`TokenGoldensError`] if `tokens.json` cannot be read, is malformed, or has nothing to compare. A case that
/// cannot be run, because of an unknown kind or option or a broken tokenizer, is a failed case, not an error.
pub fn run_token_goldens(folder: &Path) -> Result<Vec<TokenCase>, TokenGoldensError> {
    let file = folder.join("tokens.json");
    let path = || file.display().to_string();
    let bytes = fs::read(&file).map_err(|source| TokenGoldensError::Read { path: path(), source })?;
    let shape = |cause: String| TokenGoldensError::Shape { path: path(), cause };
    let goldens: Value = serde_json::from_slice(&bytes).map_err(|error| shape(error.to_string()))?;
    let texts = goldens["texts"].as_array().ok_or_else(|| shape("`texts` is not an array".to_owned()))?;
    let texts: Option<Vec<&str>> = texts.iter().map(Value::as_str).collect();
    let texts = texts.ok_or_else(|| shape("`texts` holds something that is no string".to_owned()))?;
    let cases = goldens["cases"].as_object().ok_or_else(|| shape("`cases` is not an object".to_owned()))?;
    for (empty, what) in [(texts.is_empty(), "text"), (cases.is_empty(), "case")] {
        if empty {
            return Err(TokenGoldensError::Empty { path: path(), what });
        }
    }
    Ok(cases.iter().map(|(name, case)| run_case(folder, name, case, &texts)).collect())
}

/// Runs one case.
fn run_case(folder: &Path, name: &str, case: &Value, texts: &[&str]) -> TokenCase {
    let compared = compare(folder, case, texts);
    let mut outcome = TokenCase {
        name: name.to_owned(),
        passed: false,
        texts: 0,
        mismatches: vec![],
        reason: String::new(),
    };
    match compared {
        Err(reason) => outcome.reason = reason,
        Ok((mismatches, first)) => {
            outcome.texts = texts.len();
            outcome.passed = mismatches.is_empty();
            outcome.mismatches = mismatches;
            outcome.reason = first;
        }
    }
    outcome
}

/// Compares the ids of all texts; returns the indices of those that differ, and a description of the first.
fn compare(folder: &Path, case: &Value, texts: &[&str]) -> Result<(Vec<usize>, String), String> {
    let case = case.as_object().ok_or("the case is not an object")?;
    let expected = case.get("ids").and_then(Value::as_array).ok_or("`ids` is missing")?;
    if expected.len() != texts.len() {
        return Err(format!("{} rows of ids for {} texts", expected.len(), texts.len()));
    }
    let tokenizer = tokenizer_of(folder, case)?;
    let found = tokenizer.encode_batch(texts).map_err(|error| error.to_string())?;
    let mut mismatches = Vec::new();
    let mut first = String::new();
    for (place, (row, found)) in expected.iter().zip(found.ids.chunks_exact(found.context_length)).enumerate()
    {
        let row: Option<Vec<i64>> = row.as_array().and_then(|row| row.iter().map(Value::as_i64).collect());
        let row = row.ok_or_else(|| format!("row {place} of `ids` is not one of whole numbers"))?;
        if row == found {
            continue;
        }
        if mismatches.is_empty() {
            let differs =
                row.iter().zip(found).position(|(a, b)| a != b).unwrap_or(row.len().min(found.len()));
            first = format!(
                "text {place} {:?}: id {differs} is {:?}, expected {:?}",
                texts[place],
                found.get(differs),
                row.get(differs),
            );
        }
        mismatches.push(place);
    }
    Ok((mismatches, first))
}

/// Creates the tokenizer of a case; an unknown key is an error.
fn tokenizer_of(folder: &Path, case: &Map<String, Value>) -> Result<Tokenizer, String> {
    let kind = case.get("kind").and_then(Value::as_str).ok_or("`kind` is missing")?;
    let known: &[&str] = match kind {
        "SimpleTokenizer" => &["kind", "context_length", "ids", "clean"],
        "HFTokenizer" => &[
            "kind",
            "context_length",
            "ids",
            "clean",
            "tokenizer",
            "strip_sep_token",
            "language",
            "tokenizer_mode",
        ],
        _ => return Err(format!("the kind `{kind}` is unknown")),
    };
    if let Some(key) = case.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!("the key `{key}` is unknown"));
    }
    if kind == "SimpleTokenizer" {
        return match text_config(case, None)?.tokenizer_source() {
            TokenizerSource::Clip(TokenizerRules { context_length, clean, .. }) => {
                Tokenizer::clip(context_length, clean).map_err(|error| error.to_string())
            }
            _ => Err("not CLIP's own tokenizer".to_owned()),
        };
    }
    let name = case.get("tokenizer").and_then(Value::as_str).ok_or("`tokenizer` is missing")?;
    if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
        return Err(format!("`{name}` is no name of a folder"));
    }
    let files = folder.join("tokenizers").join(name);
    match text_config(case, Some(name))?.tokenizer_source() {
        TokenizerSource::HuggingFace { options, .. } => read_tokenizer(&files, &options),
        _ => Err("not a Hugging Face tokenizer".to_owned()),
    }
}

/// Reads the keys of a case as the `text_cfg` of an open_clip config.
fn text_config(case: &Map<String, Value>, name: Option<&str>) -> Result<TextConfig, String> {
    let mut config = Map::new();
    let mut options = Map::new();
    for (key, value) in case {
        match key.as_str() {
            "context_length" | "tokenizer_mode" => config.insert(key.clone(), value.clone()),
            "clean" | "strip_sep_token" | "language" => options.insert(key.clone(), value.clone()),
            _ => None,
        };
    }
    config.insert("tokenizer_kwargs".to_owned(), options.into());
    if let Some(name) = name {
        config.insert("hf_tokenizer_name".to_owned(), name.into());
    }
    let model = json!({ "embed_dim": 8, "vision_cfg": {}, "text_cfg": config });
    let parsed = ModelConfig::parse(model.to_string().as_bytes()).map_err(|error| error.to_string())?;
    Ok(parsed.text.clone())
}

/// Reads the files of a Hugging Face tokenizer and creates it.
fn read_tokenizer(folder: &Path, options: &HuggingFaceOptions) -> Result<Tokenizer, String> {
    let read = |name: &str| fs::read(folder.join(name));
    let json = read("tokenizer.json").map_err(|error| format!("`{}`: {error}", folder.display()))?;
    let (config, map) = (read("tokenizer_config.json").ok(), read("special_tokens_map.json").ok());
    let files = TokenizerFiles {
        tokenizer: Some(&json),
        config: config.as_deref(),
        special_tokens_map: map.as_deref(),
        ..TokenizerFiles::default()
    };
    let read = text::read_tokenizer(&files, Reader::OpenClip(options)).map_err(|error| error.to_string())?;
    let (backend, rules) = read.ok_or("there is no vocabulary")?;
    Tokenizer::from_json(&backend.bytes, rules).map_err(|error| error.to_string())
}
