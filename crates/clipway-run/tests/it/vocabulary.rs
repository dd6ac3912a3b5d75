//! Trimmed vocabularies, of each kind of tokenizer.

use clipway_model::config::{ModelConfig, TextConfig};
use clipway_run::text::{FolderTokenizer, Renumbering, TextReading, TrimError};
use serde_json::{Map, Value, json};

fn text_config() -> TextConfig {
    let text = json!({ "context_length": 24, "hf_tokenizer_name": "own", "pool_type": "none" });
    let model = json!({ "embed_dim": 8, "vision_cfg": {}, "text_cfg": text });
    ModelConfig::parse(model.to_string().as_bytes()).unwrap().text.clone()
}

/// A tokenizer with this model and these special tokens, which are its first ones.
fn tokenizer(model: Value, special: &[&str], more: Value) -> FolderTokenizer {
    let added = special.iter().enumerate().map(|(id, content)| {
        json!({
            "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        })
    });
    let mut file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null, "model": model,
    });
    file.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast", "pad_token": special[0], "padding_side": "right",
        "truncation_side": "right",
    });
    read(file, config)
}

fn read(file: Value, config: Value) -> FolderTokenizer {
    let files = [("tokenizer.json", file), ("tokenizer_config.json", config)];
    let files = files.map(|(name, value)| (name.to_owned(), value.to_string().into_bytes()));
    FolderTokenizer::read(&text_config(), TextReading::OpenClip, &files).unwrap().unwrap()
}

fn numbered(tokens: &[&str]) -> Map<String, Value> {
    tokens.iter().enumerate().map(|(id, token)| ((*token).to_owned(), json!(id))).collect()
}

fn spelled(found: &FolderTokenizer) -> Vec<String> {
    let (_, bytes) = found.files.iter().find(|(name, _)| name == "tokenizer.json").unwrap();
    let file: Value = serde_json::from_slice(bytes).unwrap();
    match &file["model"]["vocab"] {
        Value::Object(entries) => {
            let mut tokens: Vec<_> = entries.iter().map(|(token, id)| (id.as_u64(), token.clone())).collect();
            tokens.sort();
            tokens.into_iter().map(|(_, token)| token).collect()
        }
        Value::Array(pieces) => pieces.iter().map(|piece| piece[0].as_str().unwrap().to_owned()).collect(),
        _ => Vec::new(),
    }
}

/// Trims a tokenizer by texts, and returns it; every text must keep its tokens.
#[track_caller]
fn trimmed(whole: &FolderTokenizer, rows: usize, texts: &[&str]) -> FolderTokenizer {
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    let chosen = whole.choose(&texts, rows, &text_config()).unwrap();
    assert_eq!(chosen.vocabulary.choice.texts, texts.len());
    let trimmed = whole.trimmed(&chosen.vocabulary.kept, &text_config()).unwrap();
    let renumbering = Renumbering::between(whole, &trimmed).unwrap();
    assert_eq!(renumbering.kept().as_deref(), Some(&*chosen.vocabulary.kept));
    for text in texts {
        let (ours, theirs) =
            (whole.tokenizer.encode(&text).unwrap(), trimmed.tokenizer.encode(&text).unwrap());
        assert!(renumbering.is_same(&ours, &theirs), "{text}: {ours:?} and {theirs:?}");
    }
    trimmed
}

/// Byte pairs in which `abab` has two merges, of which only the one through `ab` is ever applied.
fn pairs() -> FolderTokenizer {
    let tokens = ["<pad>", "<unk>", "▁", "a", "b", "c", "ab", "aba", "abab", "bc", "abc", "ca"];
    let merges = [["a", "b"], ["b", "c"], ["ab", "ab"], ["ab", "a"], ["aba", "b"], ["ab", "c"], ["c", "a"]];
    let model = json!({
        "type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
        "vocab": numbered(&tokens), "merges": merges,
    });
    tokenizer(model, &["<pad>", "<unk>"], json!({}))
}

#[test]
fn byte_pairs_keep_what_their_merges_pass_through() {
    let small = trimmed(&pairs(), 12, &["abab"]);
    assert_eq!(spelled(&small), ["<pad>", "<unk>", "▁", "a", "b", "c", "ab", "abab"]);
    let small = trimmed(&pairs(), 12, &["abc", "ca"]);
    assert_eq!(spelled(&small), ["<pad>", "<unk>", "▁", "a", "b", "c", "ab", "abc", "ca"]);
    // What was not kept is written with smaller tokens.
    assert_eq!(small.tokenizer.encode("abab").unwrap().tokens(), [6, 6]);
}

#[test]
fn parts_of_words_keep_their_marks() {
    let tokens = ["<pad>", "<unk>", "a", "b", "a</w>", "b</w>", "ab", "ab</w>", "aba", "aba</w>", "ba</w>"];
    let merges = [["b", "a</w>"], ["a", "b"], ["a", "b</w>"], ["ab", "a"], ["ab", "a</w>"]];
    let model = json!({
        "type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
        "end_of_word_suffix": "</w>", "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
        "vocab": numbered(&tokens), "merges": merges,
    });
    let whole =
        tokenizer(model, &["<pad>", "<unk>"], json!({ "pre_tokenizer": { "type": "WhitespaceSplit" } }));
    // `aba` is `a` and `ba</w>`: the merge of `b` and `a</w>` is the first.
    let small = trimmed(&whole, 11, &["aba"]);
    assert_eq!(spelled(&small), ["<pad>", "<unk>", "a", "b", "a</w>", "b</w>", "ba</w>"]);
    let small = trimmed(&whole, 11, &["ab"]);
    assert_eq!(spelled(&small), ["<pad>", "<unk>", "a", "b", "a</w>", "b</w>", "ab</w>"]);
}

fn unigram() -> FolderTokenizer {
    let pieces = json!([
        ["<pad>", 0.0],
        ["</s>", 0.0],
        ["<unk>", 0.0],
        ["a", -3.0],
        ["b", -3.5],
        ["ab", -4.0],
        ["abc", -5.0],
        ["rare", -30.0],
        ["dog", -6.0],
        ["<0x41>", -10.0],
    ]);
    let special = json!({ "</s>": { "id": "</s>", "ids": [1], "tokens": ["</s>"] } });
    let single = json!([
        { "Sequence": { "id": "A", "type_id": 0 } }, { "SpecialToken": { "id": "</s>", "type_id": 0 } },
    ]);
    let post =
        json!({ "type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": special });
    let model = json!({ "type": "Unigram", "unk_id": 2, "vocab": pieces, "byte_fallback": false });
    tokenizer(model, &["<pad>", "</s>", "<unk>"], json!({ "post_processor": post }))
}

#[test]
fn unigrams_keep_the_score_of_unknown_characters() {
    // `c` is unknown and costs as much as the rarest piece says, so `abc` is one piece.
    let small = trimmed(&unigram(), 10, &["abca", "abab"]);
    assert_eq!(
        spelled(&small),
        ["<pad>", "</s>", "<unk>", "a", "b", "ab", "abc", "rare", "<0x41>"],
        "without `dog`"
    );
    assert_eq!(small.tokenizer.encode("a").unwrap().tokens(), [3, 1]);
}

#[test]
fn word_pieces_keep_the_longest_match() {
    let tokens = ["[PAD]", "[UNK]", "a", "b", "##a", "##b", "ab", "##ab", "abab", "dog", "##dog"];
    let model = json!({
        "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100, "vocab": numbered(&tokens),
    });
    let more = json!({ "pre_tokenizer": { "type": "WhitespaceSplit" } });
    let whole = tokenizer(model, &["[PAD]", "[UNK]"], more);
    let small = trimmed(&whole, 11, &["ababab", "ab xyz"]);
    assert_eq!(spelled(&small), ["[PAD]", "[UNK]", "a", "b", "##a", "##b", "ab", "##ab", "abab"]);
}

#[test]
fn whole_words_are_kept_one_by_one() {
    let model = json!({
        "type": "WordLevel", "unk_token": "<unk>", "vocab": numbered(&["<pad>", "<unk>", "cat", "dog"]),
    });
    let more = json!({ "pre_tokenizer": { "type": "WhitespaceSplit" } });
    let whole = tokenizer(model, &["<pad>", "<unk>"], more);
    assert_eq!(spelled(&trimmed(&whole, 4, &["dog bird"])), ["<pad>", "<unk>", "dog"]);
}

#[test]
fn a_source_language_is_renumbered() {
    let tokens = ["<s>", "<pad>", "</s>", "<unk>", "a", "b", "ab", "abb"];
    let special = ["<s>", "<pad>", "</s>", "<unk>"].iter().enumerate().map(|(id, token)| (id, *token));
    let added = special.chain([(8, "eng_Latn"), (9, "fra_Latn")]).map(|(id, content)| {
        json!({
            "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        })
    });
    let model = json!({
        "type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
        "vocab": numbered(&tokens), "merges": [["a", "b"], ["ab", "b"]],
    });
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": null, "pre_tokenizer": { "type": "WhitespaceSplit" }, "post_processor": null,
        "decoder": null, "model": model,
    });
    let config = json!({ "tokenizer_class": "NllbTokenizer", "src_lang": "fra_Latn" });
    let whole = read(file, config);
    assert_eq!(whole.tokenizer.encode("ab a").unwrap().tokens(), [9, 6, 4, 2]);
    let small = trimmed(&whole, 10, &["ab a"]);
    assert_eq!(small.tokenizer.encode("ab a").unwrap().tokens(), [8, 6, 4, 2], "without `abb`");
    assert_eq!(small.tokenizer.encode("abb").unwrap().tokens(), [8, 6, 5, 2]);
}

#[test]
fn texts_that_choose_nothing_or_everything_are_refused() {
    let whole = unigram();
    let choose = |texts: &[&str], rows: usize| {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        whole.choose(&texts, rows, &text_config()).map(|chosen| chosen.vocabulary.kept.len())
    };
    assert!(matches!(choose(&[], 10), Err(TrimError::NoTexts)));
    assert!(matches!(choose(&[" ", ""], 10), Err(TrimError::NoTexts)));
    assert!(matches!(choose(&["abcab dog"], 10), Err(TrimError::NeedsAll(10))));
    // Rows that no token has are always left out.
    assert_eq!(choose(&["abcab dog"], 16).unwrap(), 10);
}

#[test]
fn half_of_the_texts_shows_what_the_choice_does_to_others() {
    let whole = unigram();
    let texts = ["abab", "dog", "ab", "a"].map(str::to_owned);
    let chosen = whole.choose(&texts, 10, &text_config()).unwrap();
    let hidden = chosen.vocabulary.choice.hidden;
    assert_eq!((hidden.texts, hidden.otherwise), (2, 1), "`dog` is not seen, `a` is a single character");
    assert_eq!(chosen.example.as_deref(), Some("dog"));
}
