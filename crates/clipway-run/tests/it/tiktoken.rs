//! Encodings of tiktoken, from files of ranks and from a `tokenizer.json`, with the ids that open_clip's main branch gives.

use clipway_model::config::{ModelConfig, TextConfig};
use clipway_run::text::{FolderTokenizer, TextReading, TokenizerError};
use serde_json::{Value, json};

type Files = Vec<(String, Vec<u8>)>;

/// Number of tokens of `r50k_base`.
const TOKENS: usize = 50_256;

fn text_config(changes: Value) -> TextConfig {
    let mut text = json!({
        "text_arch": "modern", "tokenizer_type": "tiktoken", "tiktoken_name": "r50k_base", "context_length": 8,
        "vocab_size": 50260, "eos_id": 50257, "pad_id": 50258,
    });
    text.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let model = json!({ "embed_dim": 8, "vision_cfg": {}, "text_cfg": text });
    ModelConfig::parse(model.to_string().as_bytes()).unwrap().text.clone()
}

/// A vocabulary as large as the encoding's: bytes, `at`, ` c`, ` cat`, `aa`, `aaa`, and tokens that no text has.
fn tokens(count: usize) -> Vec<Vec<u8>> {
    let words = [&b"at"[..], b" c", b" cat", b"aa", b"aaa"];
    let bytes = (0..=u8::MAX).map(|byte| vec![byte]);
    let others = (0..).map(|number: u16| [&[0xff][..], &number.to_be_bytes()].concat());
    bytes.chain(words.map(<[u8]>::to_vec)).chain(others).take(count).collect()
}

/// Base64, in which a file of ranks has its tokens.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let of = |chunk: &[u8]| -> String {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let letter = |place: usize| match place <= chunk.len() {
            true => char::from(LETTERS[(bits >> (18 - 6 * place)) as usize & 63]),
            false => '=',
        };
        (0..4).map(letter).collect()
    };
    bytes.chunks(3).map(of).collect()
}

fn ranks(count: usize) -> Files {
    let line = |(rank, token): (usize, &Vec<u8>)| format!("{} {rank}\n", base64(token));
    let text: String = tokens(count).iter().enumerate().map(line).collect();
    vec![("r50k_base.tiktoken".to_owned(), text.into_bytes())]
}

fn read(changes: Value, files: &Files) -> Result<Option<FolderTokenizer>, TokenizerError> {
    FolderTokenizer::read(&text_config(changes), TextReading::OpenClip, files)
}

#[track_caller]
fn ids(found: &FolderTokenizer, text: &str, expected: &[i64]) {
    let encoded = found.tokenizer.encode(text).unwrap();
    let padded = [expected, &vec![50258; 8 - expected.len()]].concat();
    assert_eq!(encoded.ids, padded, "{text}");
}

#[test]
fn texts_become_the_ids_of_open_clip() {
    let found = read(json!({}), &ranks(TOKENS)).unwrap().unwrap();
    // What is written beside the weights is read again, with or without the token that GPT-2's file adds.
    let mut json: Value = serde_json::from_slice(&found.files[0].1).unwrap();
    json["model"]["vocab"]["<|endoftext|>"] = json!(50256);
    json["added_tokens"] = json!([{ "id": 50256, "content": "<|endoftext|>", "special": true, "single_word": false,
        "lstrip": false, "rstrip": false, "normalized": false }]);
    let of_gpt2 = vec![("tokenizer.json".to_owned(), json.to_string().into_bytes())];
    let written = read(json!({}), &found.files).unwrap().unwrap();
    let added = read(json!({}), &of_gpt2).unwrap().unwrap();
    for found in [&found, &written, &added] {
        ids(found, "cat cat", &[50259, 99, 256, 258, 50257]);
        ids(found, "", &[50259, 50257]);
        // Neighbors that make an earlier token are joined before others, and the first ones of several.
        ids(found, "aaaaa", &[50259, 259, 260, 50257]);
        ids(found, "aaa", &[50259, 260, 50257]);
        ids(found, "cat cat cat cat cat cat", &[50259, 99, 256, 258, 258, 258, 258, 50257]);
        // A special token's spelling is text.
        ids(found, "<|end", &[50259, 60, 124, 101, 110, 100, 50257]);
    }
    let bare = json!({ "tokenizer_kwargs": { "add_bos": false, "clean": "whitespace_underscore" } });
    ids(&read(bare, &ranks(TOKENS)).unwrap().unwrap(), "cat_cat  ", &[99, 256, 258, 50257]);
    let endless = json!({ "tokenizer_kwargs": { "add_eos": false } });
    ids(&read(endless, &ranks(TOKENS)).unwrap().unwrap(), " cat", &[50259, 258]);
}

#[test]
fn files_that_are_not_the_encodings_are_refused() {
    assert!(read(json!({}), &Vec::new()).unwrap().is_none());
    let fails = |changes: Value, files: &Files, says: &str| {
        let error = read(changes, files).unwrap_err().to_string();
        assert!(error.contains(says), "{says}: {error}");
    };
    fails(json!({}), &ranks(TOKENS - 1), "`r50k_base` has 50256 tokens, this file has 50255");
    let mut twice = tokens(TOKENS);
    twice[300] = twice[299].clone();
    let lines: String =
        twice.iter().enumerate().map(|(rank, token)| format!("{} {rank}\n", base64(token))).collect();
    let twice = vec![("r50k_base.tiktoken".to_owned(), lines.into_bytes())];
    fails(json!({}), &twice, "token 300: it is the same as token 299");
    // Ids without rows, and a model that takes other tokens for padding and end.
    fails(
        json!({ "vocab_size": 50259 }),
        &ranks(TOKENS),
        "ids up to 50259, but the token embedding has only 50259 rows",
    );
    fails(
        json!({ "pad_id": 0 }),
        &ranks(TOKENS),
        "takes token 0 for padding, but the tokenizer pads with token 50258",
    );
    fails(
        json!({ "eos_id": 9 }),
        &ranks(TOKENS),
        "uses the first token 9, but the tokenizer ends texts with token 50257",
    );
    let words = json!({ "model": { "type": "BPE", "vocab": { "猫": 0 }, "merges": [] } });
    let words = vec![("tokenizer.json".to_owned(), words.to_string().into_bytes())];
    fails(json!({}), &words, "is not spelled in the letters of bytes");
}
