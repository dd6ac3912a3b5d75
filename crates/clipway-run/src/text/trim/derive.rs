//! How a byte-pair encoding makes a token: the tokens that its merges pass through.

use std::collections::HashMap;

use serde_json::Value;

use super::keep::Affixes;

/// The merges of a vocabulary, and the characters that each token begins with.
pub struct Derivations {
    /// For two tokens, the rank of their merge and what they become.
    merges: HashMap<(u32, u32), (usize, u32)>,
    /// The tokens of a token's characters; left out where there is no such token.
    letters: HashMap<u32, Vec<u32>>,
}

impl Derivations {
    /// Reads the merges of a `tokenizer.json`.
    pub fn new(file: &Value, tokens: &HashMap<&str, u32>, affixes: &Affixes<'_>) -> Derivations {
        let merges = file["model"]["merges"].as_array().map(Vec::as_slice).unwrap_or_default();
        let merges = merges.iter().enumerate().filter_map(|(rank, merge)| {
            let (left, right) = parts(merge)?;
            let whole = format!("{left}{}", right.strip_prefix(affixes.prefix).unwrap_or(right));
            Some(((*tokens.get(left)?, *tokens.get(right)?), (rank, *tokens.get(whole.as_str())?)))
        });
        let letters = tokens.iter().filter_map(|(token, id)| Some((*id, letters(token, tokens, affixes)?)));
        Derivations { merges: merges.collect(), letters: letters.collect() }
    }

    /// Every token that merging the characters of a token passes through. Merges inside a token are the same in any word that
    /// the token is part of, since none reaches beyond it.
    pub fn parts(&self, token: u32) -> Vec<u32> {
        let Some(letters) = self.letters.get(&token) else { return Vec::new() };
        let (mut row, mut passed) = (letters.clone(), letters.clone());
        loop {
            let joined = row.windows(2).enumerate().filter_map(|(place, pair)| {
                let (rank, whole) = self.merges.get(&(pair[0], pair[1]))?;
                Some((*rank, place, *whole))
            });
            // The earliest merge, and of several places the leftmost.
            let Some((_, place, whole)) = joined.min() else { return passed };
            row.splice(place..place + 2, [whole]);
            passed.push(whole);
        }
    }
}

/// The two tokens of a merge: a string with one space, or an array.
pub fn parts(merge: &Value) -> Option<(&str, &str)> {
    match merge {
        Value::String(text) => text.split_once(' '),
        Value::Array(parts) => Some((parts.first()?.as_str()?, parts.get(1)?.as_str()?)),
        _ => None,
    }
}

/// The tokens of a token's characters, with the prefix and the suffix of parts of words.
fn letters(token: &str, tokens: &HashMap<&str, u32>, affixes: &Affixes<'_>) -> Option<Vec<u32>> {
    let bare = affixes.bare(token);
    let start = token.find(bare)?;
    let (prefix, suffix) = (&token[..start], &token[start + bare.len()..]);
    let count = bare.chars().count();
    let letter = |(place, letter): (usize, char)| {
        let before = if place == 0 { prefix } else { affixes.prefix };
        let after = if place + 1 == count { suffix } else { "" };
        tokens.get(format!("{before}{letter}{after}").as_str()).copied()
    };
    bare.chars().enumerate().map(letter).collect()
}
