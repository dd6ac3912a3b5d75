//! The model of a `tokenizer.json`: its vocabulary, merges and added tokens.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::json::Node;
use crate::text::TokenizerError;

/// The highest ids of a vocabulary.
#[derive(Debug, Clone, Copy)]
pub struct Highest {
    /// The model's own tokens.
    pub own: u32,
    /// All tokens, including added ones.
    pub all: u32,
}

/// Maximum id: far above every real vocabulary, and low enough for tables of all ids.
pub const HIGHEST_ID: u64 = (1 << 24) - 1;

/// Maximum word length of a WordPiece model, in characters: its work grows with the cube of it. All models in use have
/// 100.
const LONGEST_WORD: u64 = 200;

/// Maximum length of a vocabulary token, in bytes.
const LONGEST_TOKEN: usize = 4096;

/// Maximum length of a unigram piece, in bytes: at each position of a text, the model looks for pieces of every length.
const LONGEST_PIECE: usize = 128;

/// Maximum length of an added token, in bytes.
const LONGEST_ADDED: usize = 1024;

/// Maximum size of all added tokens, in bytes: the automaton that finds them takes about 80 times as much.
const ALL_ADDED: usize = 512 << 10;

/// Maximum length of a prefix or suffix that a model adds to word parts, in bytes.
const LONGEST_AFFIX: usize = 64;

/// The ids of a tokenizer's tokens.
pub struct Vocabulary<'a> {
    model: HashMap<&'a str, u32>,
    added: HashMap<&'a str, u32>,
}

impl<'a> Vocabulary<'a> {
    /// Checks the model and the added tokens of a whole `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizerError::File`] with the key of the problem.
    pub fn check(root: &Node<'a>) -> Result<Self, TokenizerError> {
        let model = check_model(&root.need("model")?)?;
        let mut vocabulary = Vocabulary { model, added: HashMap::new() };
        if let Some(added) = root.get("added_tokens")? {
            vocabulary.check_added(&added)?;
        }
        Ok(vocabulary)
    }

    /// Returns the id of a token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.added.get(token).or_else(|| self.model.get(token)).copied()
    }

    /// The highest ids.
    pub fn highest(&self) -> Highest {
        let own = self.model.values().copied().max().unwrap_or_default();
        Highest { own, all: self.added.values().copied().max().unwrap_or_default().max(own) }
    }

    /// Returns the added tokens with their ids.
    pub fn added(&self) -> impl Iterator<Item = (&'a str, u32)> + '_ {
        self.added.iter().map(|(&token, &id)| (token, id))
    }

    /// Checks the added tokens: each id belongs to one token, and to no other token of the model.
    fn check_added(&mut self, added: &Node<'a>) -> Result<(), TokenizerError> {
        let taken: HashSet<u32> = self.model.values().copied().collect();
        let mut ids = HashSet::new();
        let mut bytes = 0;
        for token in added.elements()? {
            token.only(&["id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"])?;
            for flag in ["single_word", "lstrip", "rstrip", "normalized", "special"] {
                token.get(flag)?.map(|flag| flag.bool()).transpose()?;
            }
            let id = id_of(&token.need("id")?)?;
            let content = token.need("content")?.string()?;
            if content.is_empty() {
                return Err(token.error("an added token is empty"));
            }
            if content.len() > LONGEST_ADDED {
                let cause =
                    format!("an added token of {} bytes; the limit is {LONGEST_ADDED}", content.len());
                return Err(token.too_large(cause));
            }
            bytes += content.len();
            if bytes > ALL_ADDED {
                return Err(
                    added.too_large(format!("the added tokens have more than {ALL_ADDED} bytes together"))
                );
            }
            match self.model.get(content) {
                Some(&known) if known != id => {
                    return Err(token
                        .error(format!("`{content}` has id {id}, but {known} in the model's vocabulary")));
                }
                None if taken.contains(&id) => {
                    return Err(
                        token.error(format!("id {id} of `{content}` belongs to a token of the model"))
                    );
                }
                _ => {}
            }
            if !ids.insert(id) {
                return Err(token.error(format!("two added tokens have id {id}")));
            }
            if self.added.insert(content, id).is_some() {
                return Err(token.error(format!("`{content}` is added twice")));
            }
        }
        Ok(())
    }
}

/// Reads an id.
pub fn id_of(node: &Node) -> Result<u32, TokenizerError> {
    // The limit keeps it within 32 bits.
    Ok(node.number(0, HIGHEST_ID)? as u32)
}

/// Checks a model of any type and returns its vocabulary.
fn check_model<'a>(model: &Node<'a>) -> Result<HashMap<&'a str, u32>, TokenizerError> {
    let kind = match model.get("type")? {
        Some(kind) => kind.string()?,
        // Older files omit the type: keys that only one type has reveal it.
        None if model.get("merges")?.is_some() => "BPE",
        None if model.get("max_input_chars_per_word")?.is_some() => "WordPiece",
        None if model.get("vocab")?.is_some_and(|vocab| vocab.value.is_array()) => "Unigram",
        None => return Err(model.error("`type` is missing")),
    };
    match kind {
        "BPE" => check_bpe(model),
        "WordPiece" => check_word_piece(model),
        "WordLevel" => {
            model.only(&["type", "vocab", "unk_token"])?;
            let vocabulary = check_map(&model.need("vocab")?)?;
            check_unknown(&vocabulary, &model.need("unk_token")?)?;
            Ok(vocabulary)
        }
        "Unigram" => check_unigram(model),
        _ => Err(model.error(format!("the model type `{kind}` is not supported"))),
    }
}

/// Checks a vocabulary that maps tokens to ids.
fn check_map<'a>(vocab: &Node<'a>) -> Result<HashMap<&'a str, u32>, TokenizerError> {
    let entries = vocab.object()?;
    let mut vocabulary = HashMap::with_capacity(entries.len());
    let mut ids = HashSet::with_capacity(entries.len());
    for (token, id) in entries {
        let id = id.as_u64().filter(|&id| id <= HIGHEST_ID).ok_or_else(|| {
            vocab.error(format!("the id of `{token}` is {id}: expected an integer up to {HIGHEST_ID}"))
        })?;
        if !ids.insert(id) {
            return Err(vocab.error(format!("two tokens have id {id}, one of them `{token}`")));
        }
        if token.len() > LONGEST_TOKEN {
            return Err(
                vocab.too_large(format!("a token of {} bytes; the limit is {LONGEST_TOKEN}", token.len()))
            );
        }
        vocabulary.insert(token.as_str(), id as u32);
    }
    if vocabulary.is_empty() {
        return Err(vocab.error("the vocabulary is empty"));
    }
    Ok(vocabulary)
}

/// Checks that the unknown token is in the vocabulary.
fn check_unknown(vocabulary: &HashMap<&str, u32>, unknown: &Node) -> Result<(), TokenizerError> {
    let token = unknown.string()?;
    if vocabulary.contains_key(token) {
        return Ok(());
    }
    Err(unknown.error(format!("the unknown token `{token}` is not in the vocabulary")))
}

/// Checks a byte-pair model: every merge joins two tokens to a third.
fn check_bpe<'a>(model: &Node<'a>) -> Result<HashMap<&'a str, u32>, TokenizerError> {
    model.only(&[
        "type",
        "dropout",
        "unk_token",
        "continuing_subword_prefix",
        "end_of_word_suffix",
        "fuse_unk",
        "byte_fallback",
        "ignore_merges",
        "vocab",
        "merges",
    ])?;
    let vocabulary = check_map(&model.need("vocab")?)?;
    if let Some(dropout) = model.get("dropout")?
        && dropout.value.as_f64() != Some(0.0)
    {
        return Err(dropout.error("dropout makes tokens random and is not supported"));
    }
    for flag in ["fuse_unk", "byte_fallback", "ignore_merges"] {
        model.get(flag)?.map(|flag| flag.bool()).transpose()?;
    }
    model.get("end_of_word_suffix")?.map(|suffix| affix(&suffix)).transpose()?;
    if let Some(unknown) = model.get("unk_token")? {
        check_unknown(&vocabulary, &unknown)?;
    }
    let prefix = model.get("continuing_subword_prefix")?.map(|prefix| affix(&prefix)).transpose()?;
    let merges = model.need("merges")?;
    let mut joined = String::new();
    for (place, merge) in merges.array()?.iter().enumerate() {
        let fault = |cause: String| Err(merges.error(format!("merge {place}: {cause}")));
        let Some((left, right)) = merge_parts(merge) else {
            return fault("expected two tokens".to_owned());
        };
        for token in [left, right] {
            if !vocabulary.contains_key(token) {
                return fault(format!("`{token}` is not in the vocabulary"));
            }
        }
        let Some(tail) = right.get(prefix.map_or(0, str::len)..) else {
            return fault(format!("`{right}` is shorter than the prefix of its kind"));
        };
        joined.clear();
        joined.push_str(left);
        joined.push_str(tail);
        if !vocabulary.contains_key(joined.as_str()) {
            return fault(format!("`{joined}`, which it makes, is not in the vocabulary"));
        }
    }
    Ok(vocabulary)
}

/// Reads the affix that a model adds to word parts.
fn affix<'a>(node: &Node<'a>) -> Result<&'a str, TokenizerError> {
    let text = node.string()?;
    if text.len() > LONGEST_AFFIX {
        return Err(node.too_large(format!("{} bytes; the limit is {LONGEST_AFFIX}", text.len())));
    }
    Ok(text)
}

/// Reads the two tokens of a merge: a string with one space, or an array.
fn merge_parts(merge: &Value) -> Option<(&str, &str)> {
    match merge {
        Value::String(text) => text.split_once(' ').filter(|(_, right)| !right.contains(' ')),
        Value::Array(parts) => match parts.as_slice() {
            [Value::String(left), Value::String(right)] => Some((left, right)),
            _ => None,
        },
        _ => None,
    }
}

/// Checks a WordPiece model.
fn check_word_piece<'a>(model: &Node<'a>) -> Result<HashMap<&'a str, u32>, TokenizerError> {
    model.only(&["type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab"])?;
    let vocabulary = check_map(&model.need("vocab")?)?;
    check_unknown(&vocabulary, &model.need("unk_token")?)?;
    affix(&model.need("continuing_subword_prefix")?)?;
    model.need("max_input_chars_per_word")?.number(1, LONGEST_WORD)?;
    Ok(vocabulary)
}

/// Checks a unigram model: pieces with scores; the id is the index.
fn check_unigram<'a>(model: &Node<'a>) -> Result<HashMap<&'a str, u32>, TokenizerError> {
    model.only(&["type", "unk_id", "vocab", "byte_fallback"])?;
    model.get("byte_fallback")?.map(|flag| flag.bool()).transpose()?;
    let vocab = model.need("vocab")?;
    let pieces = vocab.array()?;
    if pieces.is_empty() || pieces.len() as u64 > HIGHEST_ID {
        return Err(vocab.error(format!("expected 1 to {HIGHEST_ID} pieces, found {}", pieces.len())));
    }
    let mut vocabulary = HashMap::with_capacity(pieces.len());
    for (piece, id) in pieces.iter().zip(0u32..) {
        let sound = match piece.as_array().map(Vec::as_slice) {
            Some([Value::String(token), score]) => {
                score.as_f64().filter(|score| score.is_finite()).map(|_| token)
            }
            _ => None,
        };
        let Some(token) = sound else {
            return Err(vocab.error(format!("piece {id}: expected a string and a finite score")));
        };
        if token.len() > LONGEST_PIECE {
            let cause = format!("piece {id} has {} bytes; the limit is {LONGEST_PIECE}", token.len());
            return Err(vocab.too_large(cause));
        }
        if vocabulary.insert(token.as_str(), id).is_some() {
            return Err(vocab.error(format!("piece {id}: duplicate `{token}`")));
        }
    }
    if let Some(unknown) = model.get("unk_id")? {
        unknown.number(0, pieces.len() as u64 - 1)?;
    }
    Ok(vocabulary)
}
