//! Tokenizers of folders, read the way each folder's library reads them. The ids are from transformers 5.24.

use clipway_model::config::{ModelConfig, TextConfig};
use clipway_run::text::{
    Clean, FolderTokenizer, TextReading, TextTarget, TokenizerError, tokenizer_files_for_clip,
};
use serde_json::{Value, json};

type Files = Vec<(String, Vec<u8>)>;

fn text_config(text: Value) -> TextConfig {
    let model = json!({ "embed_dim": 8, "vision_cfg": {}, "text_cfg": text });
    ModelConfig::parse(model.to_string().as_bytes()).unwrap().text.clone()
}

fn clip_text(changes: Value) -> TextConfig {
    let mut text = json!({ "context_length": 12, "hf_tokenizer_name": "tokenizer" });
    text.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    text_config(text)
}

fn clip_files(names: &[&str]) -> Files {
    let all = tokenizer_files_for_clip(12).into_iter().map(|file| (file.name.to_owned(), file.bytes));
    all.filter(|(name, _)| names.contains(&name.as_str())).collect()
}

fn read(text: &TextConfig, files: &Files) -> Result<Option<FolderTokenizer>, TokenizerError> {
    FolderTokenizer::read(text, TextReading::Transformers, files)
}

#[track_caller]
fn ids(found: &FolderTokenizer, text: &str, expected: &[i64]) {
    let encoded = found.tokenizer.encode(text).unwrap();
    assert_eq!(encoded.ids[..expected.len()], *expected, "{text}");
}

#[test]
fn transformers_neither_repairs_texts_nor_resolves_references() {
    let text = clip_text(json!({}));
    let files = clip_files(&["tokenizer.json", "tokenizer_config.json"]);
    let whole = read(&text, &files).unwrap().unwrap();
    assert_eq!(whole.tokenizer.rules().clean, Clean::Nothing);
    let bytes = |files: &Files, name: &str| files.iter().find(|(n, _)| n == name).unwrap().1.clone();
    assert_eq!(bytes(&whole.files, "tokenizer.json"), bytes(&files, "tokenizer.json"), "it stays as it is");
    let pairs =
        read(&text, &clip_files(&["vocab.json", "merges.txt", "tokenizer_config.json"])).unwrap().unwrap();
    for found in [&whole, &pairs] {
        ids(found, "the dog’s ball", &[49406, 518, 1929, 728, 503, 338, 1069, 49407]);
        ids(found, "salt &amp; pepper", &[49406, 6611, 261, 6259, 282, 8253, 49407]);
        ids(found, "A  Cat\u{a0}!", &[49406, 320, 2368, 256, 49407, 49407]);
    }
    let cleaned = FolderTokenizer::read(&text, TextReading::OpenClip, &files).unwrap().unwrap();
    ids(&cleaned, "salt &amp; pepper", &[49406, 6611, 261, 8253, 49407]);
}

#[test]
fn a_class_builds_its_own_normalizer() {
    let mut file: Value = serde_json::from_slice(&clip_files(&["tokenizer.json"])[0].1).unwrap();
    file["normalizer"] = json!({ "type": "NFC" });
    let files = |class: &str| {
        let config = json!({ "tokenizer_class": class, "pad_token": "<|endoftext|>" });
        let pair = |name: &str, value: &Value| (name.to_owned(), value.to_string().into_bytes());
        vec![pair("tokenizer.json", &file), pair("tokenizer_config.json", &config)]
    };
    let text = clip_text(json!({}));
    // `CLIPTokenizer` takes only the vocabulary and lowercases; the file's own rules apply to any other class.
    ids(&read(&text, &files("CLIPTokenizer")).unwrap().unwrap(), "CAT", &[49406, 2368, 49407]);
    let own = read(&text, &files("PreTrainedTokenizerFast")).unwrap().unwrap();
    assert_ne!(own.tokenizer.encode("CAT").unwrap().ids[1], 2368);
}

/// Returns a small byte-pair encoding in the style of Gemma's.
fn gemma(class: &str, side: Option<&str>) -> Files {
    let words =
        ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", "a", "c", "t", "A", "C", ".", "ca", "cat"];
    let vocab: serde_json::Map<String, Value> =
        words.iter().enumerate().map(|(id, word)| ((*word).to_owned(), json!(id))).collect();
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": { "type": "BPE", "unk_token": "<unk>", "vocab": vocab, "merges": [["c", "a"], ["ca", "t"]] },
    });
    let config = json!({ "tokenizer_class": class, "padding_side": side, "pad_token": "<pad>" });
    let pair = |name: &str, value: Value| (name.to_owned(), value.to_string().into_bytes());
    vec![pair("tokenizer.json", file), pair("tokenizer_config.json", config)]
}

#[test]
fn siglip_2_lowers_case_and_keeps_punctuation() {
    let text = text_config(json!({
        "context_length": 6, "vocab_size": 14, "hf_tokenizer_name": "tokenizer", "pool_type": "last",
    }));
    let lower = read(&text, &gemma("Siglip2Tokenizer", None)).unwrap().unwrap();
    ids(&lower, "A Cat.", &[6, 5, 13, 11, 0, 0]);
    let written = lower.files.iter().find(|(name, _)| name == "tokenizer_config.json").unwrap();
    let written: Value = serde_json::from_slice(&written.1).unwrap();
    assert_eq!(written["padding_side"], "right", "stated, since the class's own default is left");
    assert!(
        lower.notes[0].contains("on the left, as transformers' `Siglip2Tokenizer` does"),
        "{:?}",
        lower.notes
    );
    let stated = read(&text, &gemma("Siglip2Tokenizer", Some("right"))).unwrap().unwrap();
    assert!(stated.notes.is_empty(), "{:?}", stated.notes);
    ids(
        &read(&text, &gemma("GemmaTokenizer", Some("left"))).unwrap().unwrap(),
        "A Cat",
        &[0, 9, 5, 10, 6, 8],
    );
}

/// A SentencePiece model of these pieces, the second of which ends texts and the third of which is unknown.
fn sentence_piece(pieces: &[&str]) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    let piece = |(place, piece): (usize, &&str)| {
        let score = [&[2 << 3 | 5][..], &(-(place as f32)).to_le_bytes()].concat();
        field(1, &[field(1, piece.as_bytes()), score].concat())
    };
    let mut bytes: Vec<u8> = pieces.iter().enumerate().flat_map(piece).collect();
    // The trainer's settings: unigrams, and the unknown piece (field 40).
    bytes.extend(field(2, &[3 << 3, 1, 0xc0, 0x02, 2]));
    bytes
}

/// The ids are those that transformers' `SiglipTokenizer` gives for the same files.
#[test]
fn siglip_splits_texts_at_tokens_before_it_cleans_them() {
    let text = text_config(json!({
        "context_length": 8, "vocab_size": 12, "hf_tokenizer_name": "tokenizer", "pool_type": "last",
    }));
    let pieces = ["<pad>", "</s>", "<unk>", "▁", "a", "b", "▁a", "▁b", "s", "u", "k"];
    let files = |changes: Value| {
        let mut config = json!({ "tokenizer_class": "SiglipTokenizer", "model_max_length": 8 });
        config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        vec![
            ("spiece.model".to_owned(), sentence_piece(&pieces)),
            ("tokenizer_config.json".to_owned(), config.to_string().into_bytes()),
        ]
    };
    let plain = read(&text, &files(json!({}))).unwrap().unwrap();
    ids(&plain, "A. b", &[6, 7, 1, 1]);
    // The first part is marked, those after a token are not.
    ids(&plain, "a</s>b", &[6, 1, 5, 1, 1]);
    ids(&plain, "a <unk> B!", &[6, 2, 5, 1]);
    ids(&plain, "</s>", &[1, 1, 1]);
    // A text that ends with the end token gets no second one.
    let padded = read(&text, &files(json!({ "pad_token": "<pad>" }))).unwrap().unwrap();
    ids(&padded, "b </s>", &[7, 1, 0, 0]);
    ids(&padded, "b <pad>a", &[7, 0, 4, 1, 0]);
    // `S` is no token: only its spelling as it is.
    let special = read(&text, &files(json!({ "additional_special_tokens": ["s"] }))).unwrap().unwrap();
    ids(&special, "as", &[6, 8, 1]);
    ids(&special, "aS", &[6, 8, 1]);
    ids(&special, "sa", &[8, 4, 1]);
    for (key, value) in [
        ("unk_token", json!("a")),
        ("bos_token", json!("!")),
        ("additional_special_tokens", json!(["other"])),
        ("added_tokens_decoder", json!({ "9": { "content": "a" } })),
        ("added_tokens_decoder", json!({ "4": { "content": "a", "single_word": true } })),
    ] {
        let error = read(&text, &files(json!({ key: value }))).err().unwrap_or_else(|| panic!("{key}"));
        assert!(error.to_string().contains("tokenizer_config.json"), "{error}");
    }
}

#[test]
fn the_built_in_tokenizer_is_taken_only_where_it_fits() {
    let takes = |changes: Value| {
        let mut text = json!({ "context_length": 12 });
        text.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        read(&text_config(text), &Vec::new()).unwrap().is_some()
    };
    assert!(takes(json!({})));
    assert!(takes(json!({ "pool_type": "eos", "eos_id": 49407 })));
    assert!(!takes(json!({ "pool_type": "eos", "eos_id": 2 })));
    assert!(!takes(json!({ "vocab_size": 8000 })));
    assert!(!takes(json!({ "vocab_size": 60000 })));
    // transformers' config names no tokenizer: what decides are the folder's files.
    let with = |name: &str, value: Value| {
        let files = vec![(name.to_owned(), value.to_string().into_bytes())];
        read(&text_config(json!({ "context_length": 12 })), &files).unwrap().is_some()
    };
    assert!(with("tokenizer_config.json", json!({ "tokenizer_class": "CLIPTokenizerFast" })));
    assert!(!with("tokenizer_config.json", json!({ "tokenizer_class": "GPT2Tokenizer" })));
    assert!(!with("vocab.json", json!({ "a": 0 })), "half of another vocabulary");
}

/// Without a tokenizer in the folder, CLIP's own is read by transformers' class, which neither repairs nor unescapes.
#[test]
fn the_built_in_tokenizer_is_read_as_transformers_reads_it() {
    let text = text_config(json!({ "context_length": 12 }));
    let found = read(&text, &Vec::new()).unwrap().unwrap();
    assert!(found.is_built_in);
    assert_eq!(found.tokenizer.rules().clean, Clean::Nothing);
    ids(&found, "salt &amp; pepper", &[49406, 6611, 261, 6259, 282, 8253, 49407]);
    let own = FolderTokenizer::read(&text, TextReading::OpenClip, &[]).unwrap().unwrap();
    ids(&own, "salt &amp; pepper", &[49406, 6611, 261, 8253, 49407]);
}

#[test]
fn a_tokenizer_of_another_model_is_a_contradiction() {
    let check = |changes: Value, expected: &[&str]| {
        let files = clip_files(&["tokenizer.json", "tokenizer_config.json"]);
        let Err(TokenizerError::Unfit { problems }) = read(&clip_text(changes.clone()), &files) else {
            panic!("{changes} fits");
        };
        assert_eq!(problems, expected);
    };
    let rows = "it has ids up to 49407, but the token embedding has only 8000 rows";
    let end = "the model uses the first token 2, but the tokenizer ends texts with token 49407";
    check(json!({ "vocab_size": 8000 }), &[rows]);
    check(json!({ "pool_type": "eos", "eos_id": 2 }), &[end]);
    check(json!({ "vocab_size": 8000, "pool_type": "eos", "eos_id": 2 }), &[rows, end]);

    // XLM-R's ids, as seen by a config that was changed from `metaclip_2` to `clip`.
    let mut files = gemma("PreTrainedTokenizerFast", None);
    let mut file: Value = serde_json::from_slice(&files[0].1).unwrap();
    file["post_processor"] = json!({ "type": "BertProcessing", "cls": ["<bos>", 2], "sep": ["<eos>", 1] });
    files[0].1 = file.to_string().into_bytes();
    let error = read(&clip_text(json!({ "vocab_size": 20 })), &files).unwrap_err();
    assert_eq!(error.code(), "contradiction");
    let says = "uses the token with the highest id, but the tokenizer ends texts with token 1";
    assert!(error.to_string().contains(says), "{error}");
    assert!(read(&clip_text(json!({ "vocab_size": 20, "pool_type": "eos", "eos_id": 1 })), &files).is_ok());
}

#[test]
fn a_folder_for_transformers_cleans_texts_itself() {
    let text = text_config(json!({ "context_length": 12, "tokenizer_kwargs": { "clean": "canonicalize" } }));
    let source = FolderTokenizer::read(&text, TextReading::OpenClip, &[]).unwrap().unwrap();
    let written = source.written_for(TextTarget::Transformers, &text).unwrap();
    // From its own files alone, as transformers reads them.
    let theirs = read(&text, &written.files).unwrap().unwrap();
    assert_eq!(theirs.tokenizer.rules(), &written.rules);
    ids(&theirs, "A_cat!", &[49406, 320, 2368, 49407]);
    ids(&theirs, " It’s,  a ﬁne [cat]. ", &[49406, 902, 320, 3797, 2368, 49407]);
    let [note] = &written.notes[..] else { panic!("{:?}", written.notes) };
    assert!(note.starts_with("transformers reads some texts differently"), "{note}");
    assert!(note.contains("`salt &amp; pepper`") && !note.contains("`snake_case`"), "{note}");
}

#[test]
fn what_open_clip_reads_otherwise_is_noted() {
    let text = clip_text(json!({}));
    let files = clip_files(&["tokenizer.json", "tokenizer_config.json"]);
    let written = read(&text, &files).unwrap().unwrap().written_for(TextTarget::OpenClip, &text).unwrap();
    assert_eq!(written.rules.clean, Clean::Nothing, "clipway reads the folder as its source");
    assert!(
        written.notes[0].starts_with("open_clip 3.3.0 reads some texts differently"),
        "{:?}",
        written.notes
    );
    assert!(written.notes[0].contains("`the dog’s ball`"), "{:?}", written.notes);
    let own = FolderTokenizer::read(&text_config(json!({})), TextReading::OpenClip, &[]).unwrap().unwrap();
    let written = own.written_for(TextTarget::OpenClip, &text_config(json!({}))).unwrap();
    assert!(written.notes.is_empty(), "{:?}", written.notes);
}

#[test]
fn what_a_library_cannot_follow_is_refused() {
    let text = text_config(json!({
        "context_length": 6, "vocab_size": 14, "hf_tokenizer_name": "t", "pool_type": "last",
        "tokenizer_kwargs": { "strip_sep_token": true },
    }));
    let mut files = gemma("PreTrainedTokenizerFast", None);
    files[1].1 = json!({ "pad_token": "<pad>", "sep_token": "<eos>" }).to_string().into_bytes();
    let refused = |target: TextTarget| {
        let source = FolderTokenizer::read(&text, TextReading::OpenClip, &files).unwrap().unwrap();
        source.written_for(target, &text).unwrap_err().to_string()
    };
    assert!(refused(TextTarget::Transformers).contains("`strip_sep_token`"));
    assert!(refused(TextTarget::OpenAi).contains("another vocabulary"));
}

/// Returns BERT's files: a vocabulary, a `tokenizer.json` that only splits at whitespace, and these configuration keys.
fn bert(keys: Value) -> Files {
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "A", "cat", "##s", ".", "e", "é"];
    let vocab: serde_json::Map<String, Value> =
        words.iter().enumerate().map(|(id, word)| ((*word).to_owned(), json!(id))).collect();
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": { "type": "NFC" },
        "pre_tokenizer": { "type": "WhitespaceSplit" }, "post_processor": null, "decoder": null,
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab },
    });
    let mut config = json!({ "tokenizer_class": "BertTokenizer", "pad_token": "[PAD]" });
    config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let pair = |name: &str, value: Value| (name.to_owned(), value.to_string().into_bytes());
    vec![pair("tokenizer.json", file), pair("tokenizer_config.json", config)]
}

#[test]
fn the_configuration_decides_for_classes_that_take_a_vocabulary_alone() {
    let text = text_config(json!({
        "context_length": 8, "vocab_size": 12, "hf_tokenizer_name": "tokenizer", "pool_type": "last",
    }));
    let check = |keys: Value, expected: &[i64]| {
        ids(&read(&text, &bert(keys)).unwrap().unwrap(), "A cats. É", expected);
    };
    check(json!({}), &[2, 5, 7, 8, 9, 10, 3, 0]);
    check(json!({ "strip_accents": false }), &[2, 5, 7, 8, 9, 11, 3, 0]);
    check(json!({ "do_lower_case": false }), &[2, 6, 7, 8, 9, 1, 3, 0]);
    // The file itself counts only for classes without their own constructor.
    check(json!({ "tokenizer_class": "PreTrainedTokenizerFast" }), &[6, 1, 1, 0, 0]);
    // transformers ignores these keys if a `tokenizer.json` says what is added.
    let ends =
        json!({ "tokenizer_class": "PreTrainedTokenizerFast", "add_eos_token": true, "eos_token": "[SEP]" });
    check(ends, &[6, 1, 1, 0, 0]);
    let other = read(&text, &bert(json!({ "tokenizer_class": "FunnelTokenizer" }))).unwrap().unwrap();
    assert!(other.notes[0].contains("should transformers' `FunnelTokenizer` build"), "{:?}", other.notes);
}

/// Expected ids are transformers 5.24's.
#[test]
fn every_stated_special_token_is_matched_in_texts() {
    let text = text_config(json!({
        "context_length": 8, "vocab_size": 12, "hf_tokenizer_name": "tokenizer", "pool_type": "last",
    }));
    let check = |keys: Value, expected: &[i64]| {
        ids(&read(&text, &bert(keys)).unwrap().unwrap(), "A cats. É", expected);
    };
    let split = [2, 5, 7, 1, 9, 10, 3, 0];
    check(json!({ "additional_special_tokens": ["cat"] }), &split);
    check(json!({ "extra_special_tokens": { "image_token": "cat" } }), &split);
    check(json!({ "extra_special_tokens": [{ "content": "cat" }] }), &split);
    check(json!({ "image_token": "cat" }), &split);
    // The older file goes before the configuration, unless that lists all added tokens.
    let with_map = |keys: Value| {
        let mut files = bert(keys);
        let map = json!({ "pad_token": "." }).to_string().into_bytes();
        files.push(("special_tokens_map.json".to_owned(), map));
        files
    };
    let padded = |keys: Value, expected: i64| {
        let found = read(&text, &with_map(keys)).unwrap().unwrap();
        assert_eq!(found.tokenizer.encode("A").unwrap().ids[3], expected);
    };
    padded(json!({ "pad_token": "[PAD]" }), 9);
    padded(json!({ "pad_token": "[PAD]", "added_tokens_decoder": {} }), 0);
}

#[test]
fn settings_that_no_class_follows_are_refused() {
    let text = text_config(json!({
        "context_length": 8, "vocab_size": 12, "hf_tokenizer_name": "tokenizer", "pool_type": "last",
    }));
    let check = |keys: Value, expected: &str| {
        let error = read(&text, &bert(keys)).unwrap_err();
        assert_eq!(error.code(), "malformed");
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(json!({ "split_special_tokens": true }), "special tokens inside texts would be split");
    check(json!({ "sep_token": null }), "sep_token: it is null, but the tokenizer's class needs this token");
    check(json!({ "model_max_length": "8" }), "expected a positive number of tokens, found \"8\"");
    check(json!({ "model_max_length": 0 }), "expected a positive number of tokens, found 0");
    check(json!({ "model_max_length": 12.5 }), "expected a positive number of tokens, found 12.5");
    check(
        json!({ "tokenizer_class": "GPT2Tokenizer" }),
        "`GPT2Tokenizer` builds a BPE model, but this one is `WordPiece`",
    );
    assert!(read(&text, &bert(json!({ "model_max_length": 1e30 }))).is_ok());
}

/// The words of a BERT: one of them twice, one with an accent and whitespace at its end, and ends of lines of two kinds.
const WORDS: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc d\nc\u{2028}e\na\nphoto\n##s\né \r\nx\ry\n";

#[test]
fn words_in_a_file_of_their_own_are_a_bert_s() {
    let text = text_config(
        json!({ "hf_model_name": "bert-base-uncased", "context_length": 12, "hf_tokenizer_name": "tokenizer" }),
    );
    let words = ("vocab.txt".to_owned(), WORDS.as_bytes().to_vec());
    let config = |value: Value| ("config.json".to_owned(), value.to_string().into_bytes());
    for files in [
        vec![words.clone()],
        vec![words.clone(), config(json!({ "model_type": "bert" }))],
        vec![words.clone(), config(json!({ "model_type": "chinese_clip" }))],
        vec![
            words.clone(),
            ("tokenizer_config.json".to_owned(), br#"{"tokenizer_class": "BertTokenizerFast"}"#.to_vec()),
        ],
    ] {
        let found = read(&text, &files).unwrap().unwrap();
        ids(&found, "a b [SEP] photos x y é", &[2, 9, 6, 3, 10, 11, 1, 1, 1, 3, 0, 0]);
        ids(&found, "A PHOTO", &[2, 9, 10, 3]);
        // The same by open_clip's reading of the folder that is written, whose `tokenizer.json` is whole.
        assert!(found.files.iter().any(|(name, _)| name == "tokenizer.json"));
        let again = FolderTokenizer::read(&text, TextReading::OpenClip, &found.files).unwrap().unwrap();
        ids(&again, "a b [SEP] photos", &[2, 9, 6, 3, 10, 11, 3]);
    }
    let cased = ("tokenizer_config.json".to_owned(), br#"{"do_lower_case": false}"#.to_vec());
    ids(&read(&text, &vec![words.clone(), cased]).unwrap().unwrap(), "A photo", &[2, 1, 10, 3]);
    // A class of another kind does not read words.
    let other = ("tokenizer_config.json".to_owned(), br#"{"tokenizer_class": "CLIPTokenizer"}"#.to_vec());
    assert!(read(&text, &vec![words, other]).unwrap().is_none());
    for bad in [&b"\xff\n"[..], b"", b"a\nb\n"] {
        let error = read(&text, &vec![("vocab.txt".to_owned(), bad.to_vec())]).unwrap_err();
        assert!(matches!(error, TokenizerError::File { .. }), "{error}");
    }
}

#[test]
fn a_text_model_of_transformers_has_the_rows_of_its_own_config() {
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": { "type": "WordLevel", "unk_token": "<unk>", "vocab": { "<pad>": 0, "<unk>": 1, "cat": 60_000 } },
    });
    let config = json!({ "tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>" });
    let files = [("tokenizer.json", file), ("tokenizer_config.json", config)]
        .map(|(name, value)| (name.to_owned(), value.to_string().into_bytes()));
    let read = |model: &str| {
        let text = text_config(json!({ "hf_model_name": model, "hf_tokenizer_name": model }));
        FolderTokenizer::read(&text, TextReading::OpenClip, &files)
    };
    // The config of open_clip states no `vocab_size`, whose default is CLIP's.
    assert!(read("xlm-roberta-base").unwrap().is_some());
    let Err(TokenizerError::Unfit { problems }) = read("roberta-base") else { panic!("it is refused") };
    assert_eq!(problems, ["it has ids up to 60000, but the token embedding has only 50265 rows"]);
}
