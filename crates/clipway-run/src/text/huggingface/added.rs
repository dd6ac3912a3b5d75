//! Tokens that a folder's files add to a vocabulary.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::class::Backend;
use super::files::{CONFIG, SPECIAL_TOKENS_MAP, TokenizerFiles, parse_config};
use super::{FILE, json as strict};
use crate::text::TokenizerError;

/// Keys that name special tokens.
const NAMES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// The spelling of a special token, as the files give it or as the class has it.
pub fn named(files: &TokenizerFiles, name: &str, default: &str) -> Result<String, TokenizerError> {
    let found = special(files)?.into_iter().find(|(key, _)| *key == name);
    Ok(found.map_or_else(|| default.to_owned(), |(_, token)| token))
}

/// The special tokens that the files name.
fn special(files: &TokenizerFiles) -> Result<Vec<(&'static str, String)>, TokenizerError> {
    let config = files.config.map(|bytes| parse_config(bytes, CONFIG)).transpose()?.unwrap_or_default();
    let map = files.special_tokens_map.map(|bytes| parse_config(bytes, SPECIAL_TOKENS_MAP)).transpose()?;
    let map = map.unwrap_or_default();
    let spelling = |value: &Value| match value {
        Value::String(token) => Some(token.clone()),
        Value::Object(token) => token.get("content")?.as_str().map(str::to_owned),
        _ => None,
    };
    let named = NAMES.into_iter().filter_map(|name| {
        Some((name, config.get(name).and_then(spelling).or_else(|| map.get(name).and_then(spelling))?))
    });
    Ok(named.collect())
}

/// A file that is taken as it is, with the tokens that the files beside it add.
pub fn completed<'a>(
    bytes: &'a [u8],
    mut value: Value,
    files: &TokenizerFiles,
) -> Result<Backend<'a>, TokenizerError> {
    let before = value.get("added_tokens").and_then(Value::as_array).map_or(0, Vec::len);
    let own = value.get("added_tokens").cloned();
    add(&mut value, own.as_ref(), files)?;
    let after = value.get("added_tokens").and_then(Value::as_array).map_or(0, Vec::len);
    let bytes = match before == after {
        true => Cow::Borrowed(bytes),
        false => Cow::Owned(value.to_string().into_bytes()),
    };
    Ok(Backend { bytes, value })
}

/// Adds tokens to a `tokenizer.json` as transformers does: those that the configuration lists, else those of the
/// `tokenizer.json` itself and of `added_tokens.json`, and the special tokens that are named. A token of the vocabulary
/// keeps its id, any other has the next one.
pub fn add(value: &mut Value, own: Option<&Value>, files: &TokenizerFiles) -> Result<(), TokenizerError> {
    let config = files.config.map(|bytes| parse_config(bytes, CONFIG)).transpose()?.unwrap_or_default();
    let mut tokens: BTreeMap<u64, Map<String, Value>> = BTreeMap::new();
    let mut insert = |id: Option<u64>, token: &Value| {
        if let (Some(id), Value::Object(token)) = (id, token) {
            tokens.insert(id, token.clone());
        }
    };
    if let Some(Value::Object(listed)) = config.get("added_tokens_decoder") {
        for (id, token) in listed {
            insert(id.parse().ok(), token);
        }
    } else if let Some(bytes) = files.added_tokens {
        if let Value::Object(listed) = strict::parse(bytes, "added_tokens.json")? {
            for (content, id) in &listed {
                insert(id.as_u64(), &plain(content, false));
            }
        }
    }
    for token in own.and_then(Value::as_array).into_iter().flatten() {
        let id = token.get("id").and_then(Value::as_u64);
        if id.is_some_and(|id| !tokens.contains_key(&id)) {
            insert_token(&mut tokens, id, token);
        }
    }
    let mut list: Vec<Map<String, Value>> = tokens.into_values().collect();
    for (_, content) in special(files)? {
        if !list.iter().any(|token| content_of(token) == Some(&content)) {
            if let Value::Object(token) = plain(&content, true) {
                list.push(token);
            }
        }
    }
    let vocabulary = value.get("model").and_then(|model| model.get("vocab"));
    let size = vocabulary.map_or(0, |vocab| match vocab {
        Value::Object(entries) => entries.len(),
        Value::Array(pieces) => pieces.len(),
        _ => 0,
    });
    let mut next = size as u64;
    let mut numbered = Vec::new();
    for mut token in list {
        let content = content_of(&token).unwrap_or_default().to_owned();
        let known = match vocabulary {
            Some(Value::Object(entries)) => entries.get(&content).and_then(Value::as_u64),
            Some(Value::Array(pieces)) => pieces
                .iter()
                .position(|piece| piece.get(0).and_then(Value::as_str) == Some(&content))
                .map(|place| place as u64),
            _ => None,
        };
        let id = known.unwrap_or_else(|| {
            next += 1;
            next - 1
        });
        let stated = own.and_then(Value::as_array).into_iter().flatten();
        let stated = stated.filter(|own| own.get("content").and_then(Value::as_str) == Some(&content));
        for own in stated {
            if own.get("id").and_then(Value::as_u64) != Some(id) {
                let cause = format!("`{content}` would have id {id} in transformers");
                return Err(TokenizerError::file(FILE, "added_tokens", cause));
            }
        }
        token.insert("id".to_owned(), json!(id));
        numbered.push(Value::Object(token));
    }
    numbered.sort_by_key(|token| token.get("id").and_then(Value::as_u64));
    if let Value::Object(members) = value {
        members.insert("added_tokens".to_owned(), Value::Array(numbered));
    }
    Ok(())
}

fn insert_token(tokens: &mut BTreeMap<u64, Map<String, Value>>, id: Option<u64>, token: &Value) {
    if let (Some(id), Value::Object(token)) = (id, token) {
        tokens.insert(id, token.clone());
    }
}

fn content_of(token: &Map<String, Value>) -> Option<&str> {
    token.get("content").and_then(Value::as_str)
}

/// An added token without options.
fn plain(content: &str, special: bool) -> Value {
    json!({
        "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": !special, "special": special,
    })
}
