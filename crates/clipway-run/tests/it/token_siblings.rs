//! Variants of known attacks on tokenizers, drawn from a seed: growth by normalizers, regular expressions by texts,
//! words, tokens. Each is refused, or encodes adversarial texts in bounded time.

use std::time::{Duration, Instant};

use clipway_run::text::{
    Clean, JsonRules, Side, Tokenizer, TokenizerError, TokenizerKind, TokenizerMode, TokenizerRules,
};
use serde_json::{Value, json};

/// Time limit for a 100 kB text and for a refused file: one second, or more in an unoptimized build.
const LONGEST: Duration = Duration::from_secs(if cfg!(debug_assertions) { 15 } else { 1 });

/// Returns a tokenizer for words of the letters `a` and `b`.
fn base() -> Value {
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": { "[UNK]": 0, "[PAD]": 1, "a": 4, "##a": 5, "b": 6 },
        },
    })
}

fn with(key: &str, value: Value) -> Value {
    let mut file = base();
    file[key] = value;
    file
}

fn with_model(key: &str, value: Value) -> Value {
    let mut file = base();
    file["model"][key] = value;
    file
}

fn open(file: &Value) -> Result<Tokenizer, TokenizerError> {
    let rules = JsonRules {
        pad_id: 1,
        padding_side: Side::Right,
        truncation_side: Side::Right,
        stripped_id: None,
        mode: TokenizerMode::PostProcessor,
        language: None,
        longest: None,
    };
    let kind = TokenizerKind::TokenizerJson(rules);
    Tokenizer::from_json(
        file.to_string().as_bytes(),
        TokenizerRules { context_length: 16, clean: Clean::Whitespace, kind },
    )
}

fn refused(name: &str, file: &Value, code: &str, part: &str) {
    let start = Instant::now();
    let error = open(file).err().unwrap_or_else(|| panic!("{name} is accepted"));
    assert!(start.elapsed() < LONGEST, "{name} takes {:?}", start.elapsed());
    assert_eq!(error.code(), code, "{name}: {error}");
    let message = error.to_string();
    assert!(message.contains(part) && message.len() < 1000, "{name}: `{message}` does not say `{part}`");
}

/// Encodes 100 kB texts that are hard for regular expressions and normalizers.
fn harmless(name: &str, file: &Value) {
    let tokenizer = open(file).unwrap_or_else(|error| panic!("{name}: {error}"));
    for unit in [
        "a", " ", "a ", " \n", "\n ", "aA", "A", "a1", "'s", "\u{fdfa}", "\u{130}", "ab", "!", "\u{4e00}",
        "a\u{301}",
    ] {
        let text = unit.repeat(100_000 / unit.len());
        for text in [text.clone(), format!("!{text}b")] {
            let start = Instant::now();
            match tokenizer.encode(&text) {
                Ok(encoded) => assert_eq!(encoded.ids.len(), 16),
                Err(error) => assert_eq!(error.code(), "too-large", "{name}: {error}"),
            }
            assert!(start.elapsed() < LONGEST, "{name} takes {:?} for `{unit}`", start.elapsed());
        }
    }
}

fn sequence(kind: &str, parts: Vec<Value>) -> Value {
    let key = if kind == "normalizer" { "normalizers" } else { "pretokenizers" };
    with(kind, json!({ "type": "Sequence", key: parts }))
}

fn split(pattern: &str) -> Value {
    json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false })
}

fn replace(pattern: &str, content: &str) -> Value {
    json!({ "type": "Replace", "pattern": { "String": pattern }, "content": content })
}

fn prepend(length: usize) -> Value {
    json!({ "type": "Prepend", "prepend": "x".repeat(length) })
}

#[test]
fn growth_is_bounded_by_sums_and_products() {
    refused(
        "many prepends",
        &sequence("normalizer", vec![prepend(64); 40_000]),
        "too-large",
        "parts together",
    );
    let (sixty, grown) = (vec![prepend(64); 60], replace("x", &"y".repeat(16)));
    refused(
        "prepends, replaced",
        &sequence("normalizer", [sixty, vec![grown]].concat()),
        "too-large",
        "may grow by",
    );
    let doubled = |count: usize| sequence("normalizer", vec![replace("x", "xx"); count]);
    refused("doubled nine times", &doubled(9), "too-large", "may grow 512 times");
    refused(
        "byte levels",
        &sequence("normalizer", vec![json!({ "type": "ByteLevel" }); 10]),
        "too-large",
        "may grow 1024",
    );
    let metaspace =
        json!({ "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true });
    refused(
        "metaspaces",
        &sequence("pre_tokenizer", vec![metaspace; 4]),
        "too-large",
        "pieces of a text may grow",
    );
    refused("long content", &with("normalizer", replace("x", &"y".repeat(5000))), "too-large", "5000 bytes");
    harmless("doubled eight times", &doubled(8));
    // A text that shrinks again was long in between.
    let (long, gone) = (replace("a", &"y".repeat(256)), replace("y", ""));
    let shrunk = open(&sequence("normalizer", vec![long, gone])).unwrap();
    assert_eq!(shrunk.encode(&"a".repeat(100_000)).unwrap_err().code(), "too-large");
    // Whether a text grows too far depends on the text.
    let tokenizer = open(&with("normalizer", replace("x", &"y".repeat(256)))).unwrap();
    assert!(tokenizer.encode(&"x".repeat(8000)).is_ok());
    assert!(tokenizer.encode(&"z".repeat(100_000)).is_ok(), "a text that does not grow");
    let error = tokenizer.encode(&"x".repeat(1_000_000)).unwrap_err();
    assert_eq!(error.code(), "too-large", "{error}");
    assert!(open(&base()).unwrap().encode(&"a ".repeat(500_000)).is_ok(), "a plain text of 1 MB");
    assert_eq!(open(&base()).unwrap().encode(&"a".repeat(3 << 20)).unwrap_err().code(), "too-large");
}

#[test]
fn the_pieces_of_a_text_are_bounded_together() {
    // Each pass may double every piece, so 32 times the text must stay within 8 MiB.
    let levels = vec![json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true }); 5];
    let tokenizer = open(&sequence("pre_tokenizer", levels)).unwrap();
    let most = (8 << 20) / 32;
    assert!(tokenizer.encode(&"a".repeat(most)).is_ok());
    match tokenizer.encode(&"a".repeat(most + 1)) {
        Err(TokenizerError::TextTooLong { found, most: limit }) => {
            assert_eq!((found, limit), (most as u64 + 1, most as u64));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn expressions_are_bounded_together() {
    let wide = split(r"[\p{L}\p{N}]{30}");
    refused("3000 expressions", &sequence("pre_tokenizer", vec![wide.clone(); 3000]), "too-large", "ranges");
    refused("four expressions", &sequence("pre_tokenizer", vec![wide.clone(); 4]), "too-large", "ranges");
    refused(
        "many strings",
        &sequence("normalizer", vec![replace("a", "b"); 40]),
        "too-large",
        "patterns in the file",
    );
    let decoder = json!({ "type": "Sequence", "decoders": vec![json!({
        "type": "Replace", "pattern": { "Regex": r"[\p{L}\p{N}]{90}" }, "content": "" }); 9] });
    refused("a decoder", &with("decoder", decoder), "too-large", "ranges");
    for pattern in ["(a+)+$", "a*b|a", "a+(?=b)", "(a|a)*(?=b)", "(?=.*b)a", "(?:a?){40}(?=b)", "[^b]*b|a"] {
        refused(pattern, &with("pre_tokenizer", split(pattern)), "malformed", "");
        let normalizer = json!({ "type": "Replace", "pattern": { "Regex": pattern }, "content": "" });
        refused(pattern, &with("normalizer", normalizer), "malformed", "");
    }
}

#[test]
fn expressions_that_are_accepted_are_harmless() {
    let patterns = [
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"\s+$",
        r"a+b",
        r" {2,}",
        r"(?<!a)b",
        r"(?:ab)+a?",
    ];
    for pattern in patterns {
        harmless(pattern, &with("pre_tokenizer", split(pattern)));
    }
}

#[test]
fn words_tokens_and_affixes_are_bounded() {
    refused("long words", &with_model("max_input_chars_per_word", json!(201)), "malformed", "from 1 to 200");
    harmless("words of 200 letters", &with_model("max_input_chars_per_word", json!(200)));
    refused(
        "a long prefix",
        &with_model("continuing_subword_prefix", json!("#".repeat(65))),
        "too-large",
        "the limit is 64",
    );
    let token = |content: &str, id: usize| json!({ "id": id, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false });
    refused(
        "a long added token",
        &with("added_tokens", json!([token(&"t".repeat(5 << 20), 7)])),
        "too-large",
        "added token",
    );
    let many: Vec<Value> =
        (0..600).map(|index| token(&format!("{index:03}{}", "t".repeat(1000)), 7 + index)).collect();
    refused("many added tokens", &with("added_tokens", json!(many)), "too-large", "together");
    let vocab = json!({ "[UNK]": 0, "[PAD]": 1, "a".repeat(5000): 2 });
    refused("a long token", &with_model("vocab", vocab), "too-large", "5000 bytes");
    let pieces = json!([["<unk>", 0.0], ["a".repeat(300), -1.0]]);
    let unigram = json!({ "type": "Unigram", "unk_id": 0, "vocab": pieces });
    refused("a long piece", &with("model", unigram), "too-large", "300 bytes");
    let nested: Vec<Value> = std::iter::once(json!(["<unk>", 0.0]))
        .chain((1..=128).map(|n| json!(["a".repeat(n), -1.0])))
        .collect();
    harmless("nested pieces", &with("model", json!({ "type": "Unigram", "unk_id": 0, "vocab": nested })));
}

#[test]
fn truncation_and_padding_are_sound() {
    let padding = |key: &str, value: Value| {
        let mut padding = json!({
            "strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": null, "pad_id": 1,
            "pad_type_id": 0, "pad_token": "[PAD]" });
        padding[key] = value;
        with("padding", padding)
    };
    refused("a multiple of 0", &padding("pad_to_multiple_of", json!(0)), "malformed", "from 1 to");
    refused(
        "a huge row",
        &padding("strategy", json!({ "Fixed": 1_u64 << 40 })),
        "malformed",
        "from 0 to 1048576",
    );
    assert!(open(&padding("pad_to_multiple_of", json!(8))).is_ok());
    assert!(open(&padding("strategy", json!({ "Fixed": 64 }))).is_ok());
    let truncation = |longest: u64, stride: u64| {
        let text = json!({ "direction": "Right", "max_length": longest, "strategy": "LongestFirst", "stride": stride });
        with("truncation", text)
    };
    refused("a stride of its maximum", &truncation(64, 64), "malformed", "from 0 to 63");
    refused("a stride beyond its maximum", &truncation(64, 100), "malformed", "from 0 to 63");
    refused("a huge maximum", &truncation(1 << 40, 0), "malformed", "from 0 to 1048576");
    assert!(open(&truncation(64, 16)).is_ok());
}
