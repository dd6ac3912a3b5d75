//! Which tokens of a vocabulary some texts need.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::TrimError;
use super::derive::Derivations;
use crate::text::{TokenizerKind, TokenizerMode, TokenizerRules};

/// Finds the tokens to keep, once for several choices of texts.
pub struct Keeper {
    /// Tokens that every choice keeps.
    always: BTreeSet<u32>,
    /// How byte pairs make tokens.
    derivations: Option<Derivations>,
}

impl Keeper {
    /// Reads a `tokenizer.json` that the rules run.
    ///
    /// # Errors
    /// A kind of tokenizer that cannot be trimmed.
    pub fn new(file: &Value, rules: &TokenizerRules) -> Result<Keeper, TrimError> {
        let tokens = tokens(file);
        let kind = kind(file);
        if !["BPE", "Unigram", "WordPiece", "WordLevel"].contains(&kind) {
            return Err(TrimError::Kind(clipway_formats::shown(kind)));
        }
        let affixes = Affixes::of(file);
        let mut always: BTreeSet<u32> =
            tokens.iter().filter(|(token, _)| affixes.is_single(token)).map(|(_, id)| *id).collect();
        let added = file["added_tokens"].as_array().into_iter().flatten();
        always.extend(added.filter_map(|token| id_of(&token["id"])));
        always.extend(id_of(&file["model"]["unk_id"]));
        always.extend(file["model"]["unk_token"].as_str().and_then(|unknown| tokens.get(unknown)));
        always.extend(processor_ids(&file["post_processor"]));
        always.extend(rule_ids(rules));
        if kind == "Unigram" {
            always.extend(least_likely(file));
        }
        let derivations = (kind == "BPE").then(|| Derivations::new(file, &tokens, &affixes));
        Ok(Keeper { always, derivations })
    }

    /// The tokens to keep for texts that become these ids, in ascending order, of a table of `rows` rows.
    pub fn kept(&self, used: impl Iterator<Item = u32>, rows: usize) -> Vec<u32> {
        let used: BTreeSet<u32> = used.collect();
        let mut kept = self.always.clone();
        if let Some(derivations) = &self.derivations {
            kept.extend(used.iter().flat_map(|token| derivations.parts(*token)));
        }
        kept.extend(used);
        kept.into_iter().filter(|id| (*id as usize) < rows).collect()
    }
}

/// The kind of a tokenizer's model. Files of older versions do not state it.
pub fn kind(file: &Value) -> &str {
    let model = &file["model"];
    match model["type"].as_str() {
        Some(kind) => kind,
        None if !model["merges"].is_null() => "BPE",
        None if model["vocab"].is_array() => "Unigram",
        None => "WordPiece",
    }
}

/// The ids of a model's own tokens, without added ones.
pub fn tokens(file: &Value) -> HashMap<&str, u32> {
    match &file["model"]["vocab"] {
        Value::Object(entries) => {
            entries.iter().filter_map(|(token, id)| Some((token.as_str(), id_of(id)?))).collect()
        }
        Value::Array(pieces) => {
            pieces.iter().zip(0..).filter_map(|(piece, id)| Some((piece[0].as_str()?, id))).collect()
        }
        _ => HashMap::new(),
    }
}

/// An id in a file.
pub fn id_of(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

/// What a model puts before and after parts of words.
pub struct Affixes<'a> {
    /// Before every part but a word's first.
    pub prefix: &'a str,
    /// After a word's last part.
    pub suffix: &'a str,
}

impl<'a> Affixes<'a> {
    /// Those of a `tokenizer.json`.
    pub fn of(file: &'a Value) -> Affixes<'a> {
        let affix = |key: &str| file["model"][key].as_str().unwrap_or_default();
        Affixes { prefix: affix("continuing_subword_prefix"), suffix: affix("end_of_word_suffix") }
    }

    /// A token without them.
    pub fn bare<'t>(&self, token: &'t str) -> &'t str {
        let token = token.strip_prefix(self.prefix).filter(|rest| !rest.is_empty()).unwrap_or(token);
        token.strip_suffix(self.suffix).filter(|rest| !rest.is_empty()).unwrap_or(token)
    }

    /// Whether a token is one character, or has a name in angle brackets: a byte such as `<0x41>`, or a control piece.
    fn is_single(&self, token: &str) -> bool {
        let is_named = token.len() > 2 && token.starts_with('<') && token.ends_with('>');
        is_named || self.bare(token).chars().count() == 1
    }
}

/// The special tokens that a post-processor puts around a text.
fn processor_ids(node: &Value) -> Vec<u32> {
    let pairs = ["cls", "sep"].into_iter().filter_map(|key| id_of(&node[key][1]));
    let special = node["special_tokens"].as_object().into_iter().flatten();
    let special =
        special.flat_map(|(_, token)| token["ids"].as_array().into_iter().flatten().filter_map(id_of));
    let parts = node["processors"].as_array().into_iter().flatten().flat_map(processor_ids);
    pairs.chain(special).chain(parts).collect()
}

/// The ids that rules name.
fn rule_ids(rules: &TokenizerRules) -> Vec<u32> {
    let TokenizerKind::TokenizerJson(json) = &rules.kind else { return Vec::new() };
    let around = match &json.mode {
        TokenizerMode::PostProcessor => Vec::new(),
        TokenizerMode::Template { prefix, suffix } => [prefix.as_slice(), suffix].concat(),
        TokenizerMode::Clips { begin_id, end_id, class_id } => vec![*begin_id, *end_id, *class_id],
    };
    // What replaces a separator is token 0.
    let stripped = json.stripped_id.into_iter().flat_map(|id| [id, 0]);
    around.into_iter().chain([json.pad_id]).chain(stripped).collect()
}

/// The piece with the lowest score, from which the score of unknown characters is computed.
fn least_likely(file: &Value) -> Option<u32> {
    let pieces = file["model"]["vocab"].as_array()?.iter().zip(0..);
    let scored = pieces.filter_map(|(piece, id)| Some((piece[1].as_f64()?, id)));
    scored.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, id)| id)
}
