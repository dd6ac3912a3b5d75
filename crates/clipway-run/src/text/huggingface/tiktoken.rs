//! Encodings of OpenAI's tiktoken, as open_clip's `TikTokenTokenizer` uses them.
//!
//! An encoding is a list of byte strings: of all neighbors in a piece of text that make one of them together, those that make
//! the earliest one are joined first. The list comes from a `NAME.tiktoken` or from the vocabulary of a `tokenizer.json`;
//! what is built from it is a `tokenizer.json` again. How texts are cut into pieces is known by the encoding's name.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clipway_model::config::{Encoding, TiktokenConfig};
use serde_json::{Map, Value, json};

use super::check::{FILE, parse};
use super::class::{Backend, whole, with_defaults};
use super::files::TokenizerFiles;
use super::json::Node;
use super::vocabulary::Vocabulary;
use crate::text::characters::byte_letters;
use crate::text::rules::check as check_rules;
use crate::text::{Clean, JsonRules, Side, TokenizerError, TokenizerKind, TokenizerMode, TokenizerRules};

/// Maximum length of a token, in bytes.
const LONGEST: usize = 512;

/// Name of the files of ranks in errors.
const RANKS: &str = "*.tiktoken";

/// The name of an encoding's own file.
pub fn file_name(encoding: Encoding) -> String {
    format!("{}.tiktoken", encoding.name())
}

/// The tokenizer of an encoding from a folder's files; `None` if they have no vocabulary for it.
///
/// # Errors
/// [`TokenizerError::File`] if a file is malformed or has another number of tokens than the encoding.
pub fn read(
    config: TiktokenConfig,
    context_length: usize,
    clean: Clean,
    (files, ranks): (&TokenizerFiles, Option<&[u8]>),
) -> Result<Option<(Backend<'static>, TokenizerRules)>, TokenizerError> {
    let (tokens, file) = match (ranks, files.tokenizer) {
        (Some(ranks), _) => (ranked(ranks)?, RANKS),
        (None, Some(json)) => (of_json(json)?, FILE),
        (None, None) => return Ok(None),
    };
    let name = config.encoding.name();
    let expected = config.encoding.tokens();
    if tokens.len() != expected as usize {
        let cause = format!("`{name}` has {expected} tokens, this file has {}", tokens.len());
        return Err(TokenizerError::file(file, "vocabulary", cause));
    }
    let [end, pad_id, begin] = config.encoding.end_padding_begin();
    if let Some((rank, _)) = tokens.last().filter(|(rank, _)| *rank >= end) {
        let cause = format!("`{name}` has ids below {end}, this file has {rank}");
        return Err(TokenizerError::file(file, "vocabulary", cause));
    }
    let rules = JsonRules {
        pad_id,
        padding_side: Side::Right,
        truncation_side: Side::Right,
        stripped_id: None,
        mode: TokenizerMode::Template {
            prefix: if config.add_begin { vec![begin] } else { Vec::new() },
            suffix: if config.add_end { vec![end] } else { Vec::new() },
        },
        language: None,
        longest: None,
    };
    let rules = TokenizerRules { context_length, clean, kind: TokenizerKind::TokenizerJson(rules) };
    check_rules(&rules)?;
    let value = build(&tokens, config.encoding, file)?;
    Ok(Some((Backend { bytes: Cow::Owned(value.to_string().into_bytes()), value }, rules)))
}

/// A token's bytes, and its id, which is also its rank.
type Token = (u32, Vec<u8>);

/// The tokens of a file of ranks: in each line a token in base64, and its rank.
fn ranked(bytes: &[u8]) -> Result<Vec<Token>, TokenizerError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| TokenizerError::file(RANKS, format!("byte {}", error.valid_up_to()), "not UTF-8"))?;
    let mut tokens: Vec<Token> = Vec::new();
    for (line, text) in text.lines().enumerate().filter(|(_, text)| !text.is_empty()) {
        let fault = |cause: &str| TokenizerError::file(RANKS, format!("line {}", line + 1), cause);
        let (token, rank) = text.split_once(' ').ok_or_else(|| fault("expected a token and its rank"))?;
        let rank: u32 = rank.parse().map_err(|_| fault("the rank is not a number"))?;
        if tokens.last().is_some_and(|(before, _)| *before >= rank) {
            return Err(fault("the rank is not higher than the one before"));
        }
        tokens.push((rank, STANDARD.decode(token).map_err(|_| fault("the token is not base64"))?));
    }
    Ok(tokens)
}

/// The tokens of a `tokenizer.json` of byte pairs, without those that are added to its model.
fn of_json(bytes: &[u8]) -> Result<Vec<Token>, TokenizerError> {
    let value = parse(bytes)?;
    let root = Node::root(&value, FILE);
    let vocabulary = Vocabulary::check(&root)?;
    let added: HashMap<&str, u32> = vocabulary.added().collect();
    let vocab = root.need("model")?.need("vocab")?;
    let letters: HashMap<char, u8> = byte_letters().into_iter().zip(0..=u8::MAX).collect();
    let mut found = Vec::new();
    for (token, _) in vocab.object()?.iter().filter(|(token, _)| !added.contains_key(token.as_str())) {
        let bytes: Option<Vec<u8>> = token.chars().map(|letter| letters.get(&letter).copied()).collect();
        let bytes = bytes.ok_or_else(|| {
            vocab.error(format!(
                "`{token}` is not spelled in the letters of bytes: this is no encoding of tiktoken"
            ))
        })?;
        found.extend(vocabulary.id(token).map(|id| (id, bytes)));
    }
    found.sort_unstable();
    Ok(found)
}

/// The `tokenizer.json` of an encoding.
fn build(tokens: &[Token], encoding: Encoding, file: &'static str) -> Result<Value, TokenizerError> {
    let mut ranks: HashMap<&[u8], u32> = HashMap::with_capacity(tokens.len());
    for (rank, token) in tokens {
        let fault = |cause: String| Err(TokenizerError::file(file, format!("token {rank}"), cause));
        if token.is_empty() || token.len() > LONGEST {
            return fault(format!("{} bytes; expected 1 to {LONGEST}", token.len()));
        }
        if let Some(before) = ranks.insert(token, *rank) {
            return fault(format!("it is the same as token {before}"));
        }
    }
    if let Some(byte) = (0..=u8::MAX).find(|byte| !ranks.contains_key([*byte].as_slice())) {
        return Err(TokenizerError::file(
            file,
            "vocabulary",
            format!("no token is the byte {byte:#04x} alone"),
        ));
    }
    let letters = byte_letters();
    let spelled = |bytes: &[u8]| bytes.iter().map(|byte| letters[usize::from(*byte)]).collect::<String>();
    let mut merges = Vec::new();
    for (rank, token) in tokens.iter().filter(|(_, token)| token.len() > 1) {
        let usual = last_split(token, *rank, &ranks);
        let others = (1..token.len()).filter(|at| Some(*at) != usual);
        for at in usual.into_iter().chain(others) {
            let (left, right) = token.split_at(at);
            if ranks.contains_key(left) && ranks.contains_key(right) {
                merges.push(json!([spelled(left), spelled(right)]));
            }
        }
    }
    let vocab: Map<String, Value> =
        tokens.iter().map(|(rank, token)| (spelled(token), json!(rank))).collect();
    let model = with_defaults(
        Map::from_iter([("vocab".to_owned(), vocab.into()), ("merges".to_owned(), merges.into())]),
        json!({
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            // A piece that is a token as a whole is not put together from its bytes.
            "ignore_merges": true,
        }),
    );
    Ok(whole(Value::Null, pieces(encoding), Value::Null, model))
}

/// Where a token is split into the two that it is made of, if merging its bytes in the usual order makes it.
fn last_split(token: &[u8], rank: u32, ranks: &HashMap<&[u8], u32>) -> Option<usize> {
    let mut ends: Vec<usize> = (0..=token.len()).collect();
    while ends.len() > 3 {
        let joined = |place: usize| ranks.get(&token[ends[place]..ends[place + 2]]).copied();
        let first = (0..ends.len() - 2).filter_map(|place| Some((joined(place)?, place))).min();
        let (_, place) = first.filter(|(found, _)| *found < rank)?;
        ends.remove(place + 1);
    }
    Some(ends[1])
}

/// How an encoding cuts a text into pieces before bytes are joined.
fn pieces(encoding: Encoding) -> Value {
    const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let bytes = |own: bool| json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": own });
    let split = |pattern: &str| {
        let split = json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false });
        json!({ "type": "Sequence", "pretokenizers": [split, bytes(false)] })
    };
    match encoding {
        Encoding::R50k | Encoding::P50k => bytes(true),
        Encoding::Cl100k => split(CL100K),
        Encoding::O200k => split(O200K),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_letters_of_gpt_2() {
        let of_bytes = byte_letters();
        let letters: Vec<char> =
            [0, b' ', b'!', b'~', 0x7f, 0xa0, 0xad, 0xff].map(|byte| of_bytes[usize::from(byte)]).to_vec();
        assert_eq!(letters, ['Ā', 'Ġ', '!', '~', 'ġ', 'ł', 'Ń', 'ÿ']);
        let all: std::collections::HashSet<char> = of_bytes.into_iter().collect();
        assert_eq!(all.len(), 256);
    }

    #[test]
    fn the_usual_split_of_a_token_is_the_last_one_made() {
        let tokens: Vec<&[u8]> = vec![b"a", b"b", b"c", b"bc", b"ab", b"abc", b"cab"];
        let ranks: HashMap<&[u8], u32> = tokens.into_iter().zip(0..).collect();
        // `bc` comes before `ab`, so `abc` is made of `a` and `bc`.
        assert_eq!(last_split(b"abc", 5, &ranks), Some(1));
        assert_eq!(last_split(b"cab", 6, &ranks), Some(1));
        assert_eq!(last_split(b"bc", 3, &ranks), Some(1));
        // No two of these make an earlier token.
        assert_eq!(last_split(b"cca", 7, &ranks), None);
    }

    #[test]
    fn files_of_ranks_are_read_strictly() {
        assert_eq!(ranked(b"IQ== 0\nYWI= 2\n").unwrap(), [(0, b"!".to_vec()), (2, b"ab".to_vec())]);
        for (text, says) in [
            (&b"IQ=="[..], "line 1: expected a token and its rank"),
            (b"IQ== 0\nYWI= 0\n", "line 2: the rank is not higher"),
            (b"IQ== x\n", "the rank is not a number"),
            (b"!! 0\n", "not base64"),
            (b"\xff", "not UTF-8"),
        ] {
            let error = ranked(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
