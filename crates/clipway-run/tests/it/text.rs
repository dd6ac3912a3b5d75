//! Token ids against open_clip's, and the rules around them.

use std::path::PathBuf;

use clipway_run::text::{
    Clean, HuggingFaceOptions, Reader, Tokenizer, TokenizerError, TokenizerFiles, TokenizerRules,
    check_clip_vocabulary, read_tokenizer,
};
use clipway_testing::token_goldens::run_token_goldens;
use serde_json::json;

/// Returns a folder of shared files, or reports that it is absent.
pub fn shared(part: &str) -> Option<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared"));
    let folder = std::env::var_os("CLIPWAY_SHARED").map_or_else(beside, PathBuf::from).join(part);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {} is absent", folder.display());
    None
}

#[test]
fn goldens() {
    let Some(folder) = shared("goldens/tokens") else { return };
    let cases = run_token_goldens(&folder).unwrap();
    for case in &cases {
        assert!(case.passed, "{}: {} texts differ; {}", case.name, case.mismatches.len(), case.reason);
        assert!(case.texts > 0, "{}", case.name);
    }
}

#[test]
fn a_golden_that_is_wrong_unknown_or_empty_does_not_pass() {
    let folder = std::env::temp_dir().join(format!("clipway-token-goldens-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let check = |goldens: serde_json::Value, passed: Option<bool>| {
        std::fs::write(folder.join("tokens.json"), goldens.to_string()).unwrap();
        let found = run_token_goldens(&folder).ok().map(|cases| cases[0].passed);
        assert_eq!(found, passed, "{goldens}");
    };
    let case = |kind: &str, ids: &[i64]| json!({"kind": kind, "context_length": 4, "ids": [ids]});
    let file = |case: serde_json::Value| json!({"texts": ["cat"], "cases": {"one": case}});
    check(file(case("SimpleTokenizer", &[49406, 2368, 49407, 0])), Some(true));
    check(file(case("SimpleTokenizer", &[49406, 2369, 49407, 0])), Some(false));
    check(file(case("SimpleTokenizer", &[49406, 2368, 49407])), Some(false));
    check(file(case("OtherTokenizer", &[49406, 2368, 49407, 0])), Some(false));
    let mut unknown = case("SimpleTokenizer", &[49406, 2368, 49407, 0]);
    unknown["reduction"] = json!("random");
    check(file(unknown), Some(false));
    let rows = json!({"kind": "SimpleTokenizer", "context_length": 4, "ids": []});
    check(json!({"texts": ["cat"], "cases": {"one": rows}}), Some(false));
    check(json!({"texts": [], "cases": {"one": case("SimpleTokenizer", &[])}}), None);
    check(json!({"texts": ["cat"], "cases": {}}), None);
    check(json!({}), None);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn clip_ids() {
    let check = |context_length: usize, clean: Clean, text: &str, ids: &[i64], truncated: bool| {
        let encoded = Tokenizer::clip(context_length, clean).unwrap().encode(text).unwrap();
        assert_eq!((encoded.ids.as_slice(), encoded.truncated), (ids, truncated), "{text:?}");
    };
    check(4, Clean::Lower, "", &[49406, 49407, 0, 0], false);
    check(4, Clean::Lower, "A cat", &[49406, 320, 2368, 49407], false);
    check(4, Clean::Lower, "a black cat", &[49406, 320, 1449, 49407], true);
    check(1, Clean::Lower, "", &[49407], true);
    check(2, Clean::Lower, "", &[49406, 49407], false);
    check(5, Clean::Lower, "<end_of_text> <START_OF_TEXT>", &[49406, 49407, 49406, 49407, 0], false);
    check(5, Clean::Canonicalize, "A_cat!", &[49406, 320, 2368, 49407, 0], false);
    check(8, Clean::Lower, "sÃ¼Ã&#38;amp;", &[49406, 82, 6522, 127, 352, 261, 49407, 0], false);
    check(
        8,
        Clean::Lower,
        "naïve CAFÉ &amp;amp; <b>",
        &[49406, 1097, 35689, 563, 15304, 261, 283, 49407],
        true,
    );
    check(8, Clean::Lower, "ΟΔΥΣΣΕΥΣ", &[49406, 138, 123, 138, 112, 139, 227, 49407], true);
}

#[test]
fn batches_count_what_they_truncate() {
    let tokenizer = Tokenizer::clip(4, Clean::Lower).unwrap();
    for count in [3, 600] {
        let texts: Vec<&str> = ["cat", "a black cat", "a cat"].into_iter().cycle().take(count).collect();
        let batch = tokenizer.encode_batch(&texts).unwrap();
        assert_eq!((batch.ids.len(), batch.truncated, batch.context_length), (count * 4, count / 3, 4));
        for (row, text) in batch.ids.chunks_exact(4).zip(&texts) {
            assert_eq!(row, tokenizer.encode(text).unwrap().ids, "{text}");
        }
    }
}

#[test]
fn long_texts_take_no_longer_than_their_length() {
    let tokenizer = Tokenizer::clip(77, Clean::Lower).unwrap();
    for unit in ["a", "ab", "é", "!", "ÃƒÂ©", "\u{301}", "<", "\x1b[1", "Σ.", "x&", "&amp;", "amp;", "\r\n"]
    {
        let encoded = tokenizer.encode(&format!("&{}", unit.repeat(200_000))).unwrap();
        assert_eq!(encoded.ids.len(), 77, "{unit:?}");
    }
}

#[test]
fn rules_survive_storage() {
    let folder = shared("goldens/tokens/tokenizers/bert-uncased");
    let mut all = vec![TokenizerRules::clip(77, Clean::Lower)];
    if let Some(folder) = folder {
        let json = std::fs::read(folder.join("tokenizer.json")).unwrap();
        let config = std::fs::read(folder.join("tokenizer_config.json")).unwrap();
        let files =
            TokenizerFiles { tokenizer: Some(&json), config: Some(&config), ..TokenizerFiles::default() };
        let options = HuggingFaceOptions { strip_sep_token: true, ..Default::default() };
        let (_, rules) = read_tokenizer(&files, Reader::OpenClip(&options)).unwrap().unwrap();
        let made = Tokenizer::from_rules(rules.clone(), Some(&json)).unwrap();
        assert_eq!(made.encode("a cat").unwrap().ids[..5], [101, 1037, 4937, 0, 0]);
        assert!(matches!(Tokenizer::from_rules(rules.clone(), None), Err(TokenizerError::File { .. })));
        all.push(rules);
    }
    for rules in all {
        let stored = serde_json::to_string(&rules).unwrap();
        assert_eq!(serde_json::from_str::<TokenizerRules>(&stored).unwrap(), rules, "{stored}");
    }
    for unsound in [
        r#"{"context_length": 77, "clean": "upper", "tokenizer": {"kind": "clip_bpe"}}"#,
        r#"{"context_length": 77, "clean": "lower", "tokenizer": {"kind": "clip_bpe"}, "mask": "random"}"#,
        r#"{"context_length": 77, "clean": "lower", "tokenizer": {"kind": "clip_bpe", "pad_id": 1}}"#,
        r#"{"context_length": 77, "clean": "lower", "tokenizer": {"kind": "other"}}"#,
    ] {
        assert!(serde_json::from_str::<TokenizerRules>(unsound).is_err(), "{unsound}");
    }
}

#[test]
fn the_files_of_clip_describe_the_same_tokenizer() {
    let files = clipway_run::text::tokenizer_files_for_clip(77);
    assert_eq!(files, clipway_run::text::tokenizer_files_for_clip(77));
    let file = |name: &str| files.iter().find(|file| file.name == name).unwrap().bytes.as_slice();
    let options = HuggingFaceOptions { clean: Clean::Lower, ..Default::default() };
    let named = TokenizerFiles {
        tokenizer: Some(file("tokenizer.json")),
        config: Some(file("tokenizer_config.json")),
        special_tokens_map: Some(file("special_tokens_map.json")),
        ..TokenizerFiles::default()
    };
    let (backend, rules) = read_tokenizer(&named, Reader::OpenClip(&options)).unwrap().unwrap();
    assert_eq!(backend.bytes, file("tokenizer.json"), "the class builds what the file says");
    let through_library = Tokenizer::from_json(file("tokenizer.json"), rules).unwrap();
    let own = Tokenizer::clip(77, Clean::Lower).unwrap();
    let long = "a photo of many cats ".repeat(40);
    for text in
        ["a photo of a cat", "don't they'll 3.14!", "日本語 naïve 🐱", "supercalifragilistic", "", &long]
    {
        let expected = own.encode(text).unwrap();
        let found = through_library.encode(text).unwrap();
        // Only the padding differs: CLIP's own pads with 0.
        let end = 1 + expected.ids.iter().position(|&id| id == 49407).unwrap();
        assert_eq!(found.ids[..end], expected.ids[..end], "{text}");
        assert!(found.ids[end..].iter().all(|&id| id == 49407), "{text}");
        assert_eq!(found.truncated, expected.truncated, "{text}");
    }
}

#[test]
fn vocabulary_files_of_clip() {
    let files = clipway_run::text::tokenizer_files_for_clip(77);
    let merges = String::from_utf8(files[4].bytes.clone()).unwrap();
    let check = |text: &str, accepted: bool| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, text.as_bytes()).unwrap();
        let outcome = check_clip_vocabulary(&packed.finish().unwrap());
        assert_eq!(outcome.is_ok(), accepted, "{outcome:?}");
    };
    check(&merges, true);
    check(&format!("{merges}more merges\n"), true);
    check(&merges.replacen("i n\n", "i m\n", 1), false);
    check(&merges[..merges.len() / 2], false);
    check("", false);
}
