//! Hostile tokenizer files: refused with an error, without a panic and in time.

use std::fs;

use clipway_formats::is_invisible;
use clipway_run::text::{TokenizerError, check_tokenizer_file};
use serde_json::{Value, json};

use crate::text::shared;

#[test]
fn corpus() {
    let Some(folder) = shared("corpus") else { return };
    let manifest: Value = serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let cases = manifest["files"].as_array().unwrap().iter().filter(|case| case["format"] == "tokenizer");
    let mut count = 0;
    for case in cases {
        let (name, path) = (case["name"].as_str().unwrap(), case["path"].as_str().unwrap());
        let outcome = check_tokenizer_file(name, &fs::read(folder.join(path)).unwrap());
        match case["expectation"].as_str().unwrap() {
            "load" => assert_eq!(outcome, Ok(()), "{name}"),
            "reject" => {
                let is_refused =
                    matches!(&outcome, Err(TokenizerError::File { .. } | TokenizerError::TooLarge { .. }));
                assert!(is_refused, "{name}: {outcome:?}");
            }
            other => panic!("{name}: the expectation {other} is unknown"),
        }
        let said = outcome.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(!said.contains("panicked"), "{name}: {said}");
        count += 1;
    }
    assert!(count > 0);
}

/// A sound file to corrupt.
fn sound() -> Value {
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [{"id": 3, "content": "<x>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]},
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "[a-z]+|\\s+(?!\\S)"}, "behavior": "Isolated",
            "invert": false},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<x>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<x>": {"id": "<x>", "ids": [3], "tokens": ["<x>"]}}},
        "decoder": null,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
    })
}

#[test]
fn spoilt_files() {
    let check = |pointer: &str, value: Value, accepted: bool| {
        let mut file = sound();
        *file.pointer_mut(pointer).unwrap() = value.clone();
        let outcome = check_tokenizer_file("tokenizer.json", file.to_string().as_bytes());
        assert_eq!(outcome.is_ok(), accepted, "{pointer} = {value}: {outcome:?}");
        let said = outcome.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(!said.contains("panicked"), "{pointer} = {value}: {said}");
    };
    check("/version", json!("1.0"), true);
    let truncation = |stride: u64| json!({"direction": "Right", "max_length": 10, "strategy": "LongestFirst", "stride": stride});
    check("/truncation", truncation(9), true);
    check("/truncation", truncation(10), false);
    let padding = |fixed: u64| {
        json!({"strategy": {"Fixed": fixed}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "a"})
    };
    check("/padding", padding(1 << 20), true);
    check("/padding", padding(1 << 60), false);
    check("/normalizer", json!({"type": "Unknown"}), false);
    check("/normalizer/normalizers/1/pattern", json!({"String": ""}), false);
    check("/normalizer/normalizers/1/pattern/Regex", json!("(a*)*b"), false);
    check("/normalizer/normalizers/1/content", json!("x".repeat(1000)), false);
    check("/normalizer/normalizers/0", json!({"type": "Prepend", "prepend": "x".repeat(1000)}), false);
    check(
        "/normalizer/normalizers/0",
        json!({"type": "Precompiled", "precompiled_charsmap": "not base 64"}),
        false,
    );
    check("/pre_tokenizer/pattern/Regex", json!("(?<=a)b"), true);
    check("/pre_tokenizer/pattern/Regex", json!("("), false);
    check("/pre_tokenizer", json!({"type": "FixedLength", "length": 0}), false);
    check(
        "/pre_tokenizer",
        json!({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}]}),
        true,
    );
    check("/post_processor/single/0/SpecialToken/id", json!("<y>"), false);
    check("/post_processor/special_tokens/<x>/ids/0", json!(7), false);
    check("/post_processor/single", json!([]), false);
    check("/added_tokens/0/id", json!(2), false);
    check("/added_tokens/0/id", json!(9), false);
    check("/added_tokens/0/id", json!(-1), false);
    check("/added_tokens/0/content", json!(""), false);
    check("/model/dropout", json!(0.5), false);
    check("/model/unk_token", json!("<unk>"), false);
    check("/model/vocab/ab", json!(1), false);
    check("/model/vocab/ab", json!(u32::MAX), false);
    check("/model/merges", json!(["a c"]), false);
    check("/model/merges", json!(["a b a"]), false);
    check("/model/merges", json!([["a", "b"]]), true);
    check("/model/continuing_subword_prefix", json!("###"), false);
    check("/model/type", json!("Other"), false);
}

#[test]
fn every_truncation_of_a_file_is_refused() {
    let file = sound().to_string();
    assert_eq!(check_tokenizer_file("tokenizer.json", file.as_bytes()), Ok(()));
    for length in 0..file.len() {
        assert!(check_tokenizer_file("tokenizer.json", &file.as_bytes()[..length]).is_err(), "{length}");
    }
}

#[test]
fn a_file_s_own_text_is_escaped_in_messages() {
    let check = |pointer: &str, key: &str| {
        let mut file = sound();
        let object = file.pointer_mut(pointer).and_then(Value::as_object_mut).unwrap();
        object.insert(key.to_owned(), json!("unheard of"));
        let error = check_tokenizer_file("tokenizer.json", file.to_string().as_bytes()).unwrap_err();
        let message = error.to_string();
        assert!(!message.contains(is_invisible), "{message:?}");
        assert!(message.len() < 2000, "{} bytes", message.len());
        message
    };
    assert!(check("/model", "fuse\u{7f}unk").contains("fuse\\u{7f}unk"));
    assert!(check("", "\u{202e}\u{1b}[31m").contains("\\u{202e}\\u{1b}[31m"));
    assert!(check("", "two\u{2028}lines").contains("two\\u{2028}lines"));
    check("/model", &"long".repeat(10_000));
}
