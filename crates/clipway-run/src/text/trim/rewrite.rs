//! A tokenizer's files with fewer tokens.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::derive::parts;
use super::keep::{Affixes, id_of, kind};
use super::sentence_piece;
use crate::text::huggingface::{CONFIG, FILE};
use crate::text::{TokenizerError, TokenizerKind, TokenizerMode, TokenizerRules};

/// The new id of a token, if it is kept.
fn new_id(kept: &[u32], old: u32) -> Option<u32> {
    kept.binary_search(&old).ok().map(|place| place as u32)
}

/// A `tokenizer.json` with only these tokens, renumbered.
pub fn tokenizer(file: &Value, kept: &[u32]) -> Value {
    let mut file = file.clone();
    let model = &mut file["model"];
    match &mut model["vocab"] {
        Value::Object(entries) => {
            let mut left: Vec<(u32, String)> = std::mem::take(entries)
                .into_iter()
                .filter_map(|(token, id)| Some((new_id(kept, id_of(&id)?)?, token)))
                .collect();
            left.sort();
            entries.extend(left.into_iter().map(|(id, token)| (token, json!(id))));
        }
        Value::Array(pieces) => {
            let mut place = 0..;
            pieces.retain(|_| place.next().and_then(|id| new_id(kept, id)).is_some());
        }
        _ => {}
    }
    trim_merges(&mut file);
    for pointer in ["/model/unk_id", "/padding/pad_id"] {
        file.pointer_mut(pointer).into_iter().for_each(|id| renumber(id, kept));
    }
    for token in file.get_mut("added_tokens").and_then(Value::as_array_mut).into_iter().flatten() {
        token.get_mut("id").into_iter().for_each(|id| renumber(id, kept));
    }
    file.get_mut("post_processor").into_iter().for_each(|node| renumber_processor(node, kept));
    file
}

/// Keeps a merge if its parts and its result are kept.
fn trim_merges(file: &mut Value) {
    if kind(file) != "BPE" {
        return;
    }
    let Value::Array(merges) = file["model"]["merges"].take() else { return };
    let vocabulary: HashSet<&str> =
        file["model"]["vocab"].as_object().into_iter().flatten().map(|(token, _)| token.as_str()).collect();
    let prefix = Affixes::of(file).prefix;
    let is_whole = |merge: &Value| {
        parts(merge).is_some_and(|(left, right)| {
            let whole = format!("{left}{}", right.strip_prefix(prefix).unwrap_or(right));
            [left, right, &whole].iter().all(|token| vocabulary.contains(token))
        })
    };
    let merges: Vec<Value> = merges.into_iter().filter(is_whole).collect();
    file["model"]["merges"] = Value::Array(merges);
}

/// Replaces an id; one that is not kept belongs to no text, and stays for the check of the file.
fn renumber(id: &mut Value, kept: &[u32]) {
    if let Some(new) = id_of(id).and_then(|old| new_id(kept, old)) {
        *id = json!(new);
    }
}

fn renumber_processor(node: &mut Value, kept: &[u32]) {
    for key in ["cls", "sep"] {
        if let Some(id) = node.get_mut(key).and_then(|pair| pair.get_mut(1)) {
            renumber(id, kept);
        }
    }
    for (_, token) in node.get_mut("special_tokens").and_then(Value::as_object_mut).into_iter().flatten() {
        let ids = token.get_mut("ids").and_then(Value::as_array_mut);
        ids.into_iter().flatten().for_each(|id| renumber(id, kept));
    }
    let parts = node.get_mut("processors").and_then(Value::as_array_mut).into_iter().flatten();
    parts.for_each(|part| renumber_processor(part, kept));
}

/// Rules with the new ids.
///
/// # Errors
/// An id that is not kept.
pub fn rules(rules: &TokenizerRules, kept: &[u32]) -> Result<TokenizerRules, TokenizerError> {
    let mut rules = rules.clone();
    let TokenizerKind::TokenizerJson(json) = &mut rules.kind else { return Ok(rules) };
    let change = |id: &mut u32| {
        *id = new_id(kept, *id)
            .ok_or_else(|| TokenizerError::rule("vocabulary", format!("token {id} is not kept")))?;
        Ok::<(), TokenizerError>(())
    };
    change(&mut json.pad_id)?;
    json.stripped_id.iter_mut().try_for_each(change)?;
    match &mut json.mode {
        TokenizerMode::PostProcessor => {}
        TokenizerMode::Template { prefix, suffix } => prefix.iter_mut().chain(suffix).try_for_each(change)?,
        TokenizerMode::Clips { begin_id, end_id, class_id } => {
            [begin_id, end_id, class_id].into_iter().try_for_each(change)?;
        }
    }
    Ok(rules)
}

/// All files of a tokenizer, made consistent with its trimmed `tokenizer.json`.
///
/// # Errors
/// Files that are malformed.
pub fn files(
    files: &[(String, Vec<u8>)],
    trimmed: &Value,
    bytes: Vec<u8>,
    kept: &[u32],
) -> Result<Vec<(String, Vec<u8>)>, TokenizerError> {
    let mut written = Vec::new();
    for (name, old) in files {
        let new = match name.as_str() {
            FILE => bytes.clone(),
            CONFIG => renumbered_decoder(old, kept)?,
            "vocab.json" => vocabulary(trimmed).to_string().into_bytes(),
            "merges.txt" => merge_lines(trimmed).into_bytes(),
            "vocab.txt" => words(trimmed).into_bytes(),
            "spiece.model" => sentence_piece::trimmed(old, kept)?,
            "added_tokens.json" => renumbered_added(old, kept)?,
            _ => old.clone(),
        };
        written.push((name.clone(), new));
    }
    Ok(written)
}

/// The model's tokens with their ids, as a file of its own.
fn vocabulary(file: &Value) -> Value {
    file["model"]["vocab"].clone()
}

fn merge_lines(file: &Value) -> String {
    let merges = file["model"]["merges"].as_array().into_iter().flatten().filter_map(parts);
    let lines = merges.map(|(left, right)| format!("{left} {right}\n"));
    std::iter::once("#version: 0.2\n".to_owned()).chain(lines).collect()
}

/// One word in each line, by its id.
fn words(file: &Value) -> String {
    let mut words: Vec<(u32, &str)> =
        super::keep::tokens(file).into_iter().map(|(word, id)| (id, word)).collect();
    words.sort_unstable();
    words.into_iter().map(|(_, word)| format!("{word}\n")).collect()
}

/// The configuration with its list of added tokens renumbered.
fn renumbered_decoder(bytes: &[u8], kept: &[u32]) -> Result<Vec<u8>, TokenizerError> {
    let mut config: Map<String, Value> = parsed(bytes, CONFIG)?;
    let Some(Value::Object(decoder)) = config.get_mut("added_tokens_decoder") else {
        return Ok(bytes.to_vec());
    };
    let renumbered: Map<String, Value> = std::mem::take(decoder)
        .into_iter()
        .filter_map(|(id, token)| Some((new_id(kept, id.parse().ok()?)?.to_string(), token)))
        .collect();
    *decoder = renumbered;
    Ok(format!("{:#}\n", Value::Object(config)).into_bytes())
}

fn renumbered_added(bytes: &[u8], kept: &[u32]) -> Result<Vec<u8>, TokenizerError> {
    let mut added: Map<String, Value> = parsed(bytes, "added_tokens.json")?;
    added.iter_mut().for_each(|(_, id)| renumber(id, kept));
    Ok(Value::Object(added).to_string().into_bytes())
}

fn parsed(bytes: &[u8], file: &'static str) -> Result<Map<String, Value>, TokenizerError> {
    serde_json::from_slice(bytes).map_err(|cause| TokenizerError::file(file, "top level", cause.to_string()))
}
