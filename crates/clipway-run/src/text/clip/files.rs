//! CLIP's tokenizer as files for an open_clip or transformers folder.

use std::io::Read;

use flate2::read::GzDecoder;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::vocabulary::{END, FIRST_MERGE, START, Vocabulary, merges};
use crate::text::TokenizerError;
use crate::text::characters::byte_letters;

/// A file of the tokenizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipFile {
    /// Its name in the folder.
    pub name: &'static str,
    /// Its contents.
    pub bytes: Vec<u8>,
}

/// Maximum size of an unpacked vocabulary, in bytes; CLIP's takes 3.2 MB.
const LARGEST_VOCABULARY: u64 = 8 << 20;

/// The special tokens around a text, by transformers' names.
const START_NAME: &str = "<|startoftext|>";
const END_NAME: &str = "<|endoftext|>";

/// The regular expression with which CLIP's tokenizer splits text into words.
const PATTERN: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// The normalizer of transformers' `CLIPTokenizer`.
pub fn clip_normalizer() -> Value {
    json!({
        "type": "Sequence",
        "normalizers": [
            { "type": "NFC" },
            { "type": "Replace", "pattern": { "Regex": r"\s+" }, "content": " " },
            { "type": "Lowercase" },
        ],
    })
}

/// The pre-tokenizer of transformers' `CLIPTokenizer`.
pub fn clip_pre_tokenizer() -> Value {
    json!({
        "type": "Sequence",
        "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": PATTERN }, "behavior": "Removed", "invert": true },
            { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        ],
    })
}

/// A vocabulary as JSON: each name with its index. It is written without a tree of values in between, which takes tens of
/// megabytes.
struct Ids<'a>(&'a [String]);

impl Serialize for Ids<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().enumerate().map(|(id, name)| (name, id)))
    }
}

/// The contents of CLIP's `tokenizer.json`.
#[derive(Serialize)]
struct TokenizerJson<'a> {
    version: &'static str,
    truncation: (),
    padding: (),
    added_tokens: [Value; 2],
    normalizer: Value,
    pre_tokenizer: Value,
    post_processor: Value,
    decoder: Value,
    model: BpeModel<'a>,
}

/// Byte-pair encoding, as the tokenizers library stores it.
#[derive(Serialize)]
struct BpeModel<'a> {
    r#type: &'static str,
    dropout: (),
    unk_token: &'static str,
    continuing_subword_prefix: &'static str,
    end_of_word_suffix: &'static str,
    fuse_unk: bool,
    byte_fallback: bool,
    ignore_merges: bool,
    vocab: Ids<'a>,
    merges: Vec<[&'a str; 2]>,
}

/// Writes the `tokenizer.json` of `openai/clip-vit-large-patch14`, which is CLIP's encoding for the tokenizers library.
/// That library cleans texts less than open_clip does.
pub fn tokenizer_json_for_clip() -> Vec<u8> {
    tokenizer_json(&token_names())
}

fn tokenizer_json(names: &[String]) -> Vec<u8> {
    let special = |id: u16, content: &str| {
        json!({
            "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": true, "special": true,
        })
    };
    let name = |token: u16| names[usize::from(token)].as_str();
    let file = TokenizerJson {
        version: "1.0",
        truncation: (),
        padding: (),
        added_tokens: [special(START, START_NAME), special(END, END_NAME)],
        normalizer: clip_normalizer(),
        pre_tokenizer: clip_pre_tokenizer(),
        post_processor: json!({
            "type": "RobertaProcessing",
            "sep": [END_NAME, END],
            "cls": [START_NAME, START],
            "trim_offsets": false,
            "add_prefix_space": false,
        }),
        decoder: json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true }),
        model: BpeModel {
            r#type: "BPE",
            dropout: (),
            unk_token: END_NAME,
            continuing_subword_prefix: "",
            end_of_word_suffix: "</w>",
            fuse_unk: false,
            byte_fallback: false,
            ignore_merges: false,
            vocab: Ids(names),
            merges: merges().map(|(left, right)| [name(left), name(right)]).collect(),
        },
    };
    serde_json::to_vec(&file).expect("names and numbers are JSON")
}

/// Writes all files of CLIP's tokenizer: `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json`,
/// `vocab.json` and `merges.txt`. The bytes are always the same.
pub fn tokenizer_files_for_clip(context_length: usize) -> Vec<ClipFile> {
    let names = token_names();
    let mut merge_lines = String::from("#version: 0.2\n");
    for (left, right) in merges() {
        merge_lines.push_str(&names[usize::from(left)]);
        merge_lines.push(' ');
        merge_lines.push_str(&names[usize::from(right)]);
        merge_lines.push('\n');
    }
    let special = json!({
        "bos_token": START_NAME,
        "eos_token": END_NAME,
        "unk_token": END_NAME,
        "pad_token": END_NAME,
    });
    let config = json!({
        "bos_token": START_NAME,
        "eos_token": END_NAME,
        "unk_token": END_NAME,
        "pad_token": END_NAME,
        "do_lower_case": true,
        "model_max_length": context_length,
        "tokenizer_class": "CLIPTokenizer",
    });
    let pretty = |value: &Value| format!("{value:#}\n").into_bytes();
    let vocab = serde_json::to_vec(&Ids(&names)).expect("names and numbers are JSON");
    vec![
        ClipFile { name: "tokenizer.json", bytes: tokenizer_json(&names) },
        ClipFile { name: "tokenizer_config.json", bytes: pretty(&config) },
        ClipFile { name: "special_tokens_map.json", bytes: pretty(&special) },
        ClipFile { name: "vocab.json", bytes: vocab },
        ClipFile { name: "merges.txt", bytes: merge_lines.into_bytes() },
    ]
}

/// Checks that a `bpe_simple_vocab_16e6.txt.gz` contains the built-in merges.
///
/// # Errors
/// [`TokenizerError::File`] if it cannot be unpacked or contains other merges.
pub fn check_clip_vocabulary(bytes: &[u8]) -> Result<(), TokenizerError> {
    let fault =
        |place: String, cause: String| TokenizerError::file("bpe_simple_vocab_16e6.txt.gz", place, cause);
    let mut text = Vec::new();
    GzDecoder::new(bytes)
        .take(LARGEST_VOCABULARY + 1)
        .read_to_end(&mut text)
        .map_err(|error| fault("compressed data".to_owned(), error.to_string()))?;
    if text.len() as u64 > LARGEST_VOCABULARY {
        return Err(fault("size".to_owned(), format!("unpacks to more than {LARGEST_VOCABULARY} bytes")));
    }
    let text = std::str::from_utf8(&text)
        .map_err(|error| fault(format!("byte {}", error.valid_up_to()), "not UTF-8".to_owned()))?;
    let names = token_names();
    let mut lines = text.split('\n').skip(1);
    for (place, (left, right)) in merges().enumerate() {
        let expected = (names[usize::from(left)].as_str(), names[usize::from(right)].as_str());
        let found = lines.next().and_then(|line| line.split_once(' '));
        if found != Some(expected) {
            let cause = match found {
                Some((left, right)) => format!("`{left} {right}` is not CLIP's merge {place}"),
                None => format!("expected {} merges", END as usize - 1 - FIRST_MERGE),
            };
            return Err(fault(format!("line {}", place + 2), cause));
        }
    }
    Ok(())
}

/// Spells all tokens with one printable character per byte, as vocabularies do.
fn token_names() -> Vec<String> {
    let letters = byte_letters();
    let vocabulary = Vocabulary::shared();
    let mut names: Vec<String> = (0..START)
        .map(|token| {
            let mut name: String =
                vocabulary.token_bytes(token).iter().map(|&byte| letters[usize::from(byte)]).collect();
            if vocabulary.ends_word(token) {
                name.push_str("</w>");
            }
            name
        })
        .collect();
    names.extend([START_NAME.to_owned(), END_NAME.to_owned()]);
    names
}
