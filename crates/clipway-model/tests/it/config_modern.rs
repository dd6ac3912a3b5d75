//! Configs of ModernText, the text tower of open_clip's main branch, and of its tokenizers.

use std::sync::Arc;

use clipway_formats::Code;
use clipway_model::config::{Encoding, ModelConfig, TextPool, TiktokenConfig, TokenizerSource};
use clipway_model::contract::{Clean, HiddenTexts, TrimmedVocabulary};
use clipway_model::export::{open_clip_main_obstacles, open_clip_obstacles};
use clipway_model::plan::Towers;
use clipway_model::source::{Source, SourceOptions, Vocabulary};

use super::bench::Bench;
use super::config::small;

#[test]
fn keys_of_modern_text_are_kept_where_they_have_an_effect() {
    let keys = r#""text_arch": "modern", "variable_text": true, "bos_id": 3, "eos_id": 4, "pos_embed": "none", "norm_type": null"#;
    let modern = ModelConfig::parse(small("", keys, "").as_bytes()).unwrap();
    assert!(modern.uses_custom_text() && !modern.custom_text);
    assert_eq!((modern.text.pool, modern.text.eos_id), (TextPool::Eos, 4));
    let read = modern.text.modern.unwrap();
    assert!(read.rms && read.causal && read.rotary.is_none() && !read.attention_bias && !read.gate_bias);
    let written = modern.to_json();
    for key in ["text_arch", "variable_text", "bos_id", "pos_embed"] {
        assert!(written.contains(&format!("\"{key}\"")), "{key}: {written}");
    }
    assert_eq!(ModelConfig::parse(written.as_bytes()).unwrap().text, modern.text);
    assert_eq!(modern.newer_text_model(), Some("ModernText"));
    // Of open_clip's first tower they say nothing.
    let plain = keys.replace("modern", "clip");
    let plain = ModelConfig::parse(small("", &plain, "").as_bytes()).unwrap();
    assert_eq!((plain.text.modern, plain.newer_text_model()), (None, None));
    let written = plain.to_json();
    for key in ["text_arch", "variable_text", "bos_id", "pos_embed", "norm_type"] {
        assert!(!written.contains(key), "{key}: {written}");
    }
}

#[test]
fn what_modern_text_cannot_have_is_refused() {
    let modern = |more: &str, keys: &str| small("", &format!(r#""text_arch": "modern"{more}"#), keys);
    let with_end = |more: &str| modern(&format!(r#", "eos_id": 4{more}"#), "");
    let narrow =
        |more: &str| with_end(more).replace(r#""width": 64, "heads": 4"#, r#""width": 36, "heads": 12"#);
    for (config, code, says) in [
        (modern("", ""), Code::Missing, "eos_id"),
        (modern(r#", "pool_type": "argmax""#, ""), Code::Missing, "eos_id"),
        (with_end(r#", "pool_type": "last""#), Code::BadValue, "pool_type"),
        (with_end(r#", "pos_embed": "learned""#), Code::BadValue, "pos_embed"),
        (with_end(r#", "attention_mode": "prefix""#), Code::BadValue, "attention_mode"),
        (with_end(r#", "mlp_type": "geglu""#), Code::BadValue, "mlp_type"),
        (with_end(r#", "norm_type": "batchnorm""#), Code::BadValue, "norm_type"),
        (with_end(r#", "reg_tokens": -1"#), Code::BadValue, "reg_tokens"),
        (with_end(r#", "hf_model_name": "bert-base-uncased""#), Code::BadValue, "name two text towers"),
        (narrow(""), Code::BadValue, "heads of 3 cannot be rotated in pairs"),
        (
            modern(r#", "eos_id": 4"#, r#""multimodal_cfg": {}, "custom_text": true"#),
            Code::BadValue,
            "a CoCa has no ModernText tower",
        ),
        (small("", r#""text_arch": "gothic""#, ""), Code::BadValue, "text_arch"),
    ] {
        let error = ModelConfig::parse(config.as_bytes()).unwrap_err();
        assert_eq!(error.code, code, "{config}: {error}");
        assert!(error.to_string().contains(says), "{config}: {error}");
    }
    // Without positions, heads of any width will do.
    let odd = narrow(r#", "pos_embed": "none""#);
    clipway_model::architecture::build(&ModelConfig::parse(odd.as_bytes()).unwrap()).unwrap();
}

#[test]
fn encodings_of_tiktoken_are_named_by_their_keys() {
    let read = |text: &str| {
        let config = format!(
            r#"{{"embed_dim": 8, "vision_cfg": {{}}, "text_cfg": {{"tokenizer_type": "tiktoken"{text}}}}}"#
        );
        ModelConfig::parse(config.as_bytes())
    };
    let of = |text: &str| match read(text).unwrap().text.tokenizer_source() {
        TokenizerSource::Tiktoken { config, context_length, clean } => (config, context_length, clean),
        other => panic!("{other:?}"),
    };
    let config = |encoding, add_begin, add_end| TiktokenConfig { encoding, add_begin, add_end };
    assert_eq!(of(""), (config(Encoding::Cl100k, true, true), 77, Clean::Nothing));
    let named = r#", "tiktoken_name": "gpt2", "context_length": 9, "tokenizer_kwargs": {"clean": "whitespace_underscore", "add_bos": false}"#;
    assert_eq!(of(named), (config(Encoding::R50k, false, true), 9, Clean::WhitespaceUnderscore));
    assert_eq!(read(named).unwrap().beyond_open_clip().len(), 2);
    assert_eq!(of(r#", "tokenizer_kwargs": {"clean": null}"#).2, Clean::Nothing);
    for (text, code, says) in [
        (r#", "tiktoken_name": "o200k_harmony""#, Code::BadValue, "`o200k_base`"),
        (r#", "tokenizer_kwargs": {"strip_sep_token": true}"#, Code::UnknownKey, "unknown key"),
        (
            r#", "tokenizer_kwargs": {"add_bos": false, "add_eos": false}"#,
            Code::Unsupported,
            "an empty text has no token",
        ),
    ] {
        let error = read(text).unwrap_err();
        assert_eq!(error.code, code, "{text}: {error}");
        assert!(error.to_string().contains(says), "{text}: {error}");
    }
    let other = r#"{"embed_dim": 8, "vision_cfg": {}, "text_cfg": {"tokenizer_type": "sentencepiece"}}"#;
    assert!(ModelConfig::parse(other.as_bytes()).unwrap_err().to_string().contains("`tiktoken`"));
}

#[test]
fn the_main_branch_loads_what_3_3_cannot() {
    let config = r#"{"embed_dim": 8,
        "vision_cfg": {"image_size": 8, "layers": 2, "width": 16, "head_width": 8, "patch_size": 4},
        "text_cfg": {"text_arch": "modern", "context_length": 6, "vocab_size": 50, "width": 8, "heads": 2, "layers": 1,
            "eos_id": 4, "tokenizer_type": "tiktoken"}}"#;
    let bench = Bench::of(config);
    let source = Source::resolve(bench.write_source("modern.safetensors"), &bench.options()).unwrap();
    let found = open_clip_obstacles(&source).join("\n");
    assert!(found.contains("no key `text_cfg.tokenizer_type`") && found.contains("`ModernText`"), "{found}");
    assert_eq!(open_clip_main_obstacles(&source), [""; 0]);
    assert!(
        open_clip_main_obstacles(
            &Source::resolve(
                bench.write_source("modern.safetensors"),
                &SourceOptions { tower: Some(Towers::Text), ..bench.options() }
            )
            .unwrap()
        )[0]
        .contains("only the text tower")
    );
}

/// The small model with these keys of its text tower, with the tokens `kept` of its 50.
fn trimmed(text: &str, kept: &[u32]) -> Result<Source, String> {
    let config = format!(
        r#"{{"embed_dim": 8,
        "vision_cfg": {{"image_size": 8, "layers": 2, "width": 16, "head_width": 8, "patch_size": 4}},
        "text_cfg": {{"text_arch": "modern", "context_length": 6, "vocab_size": 50, "width": 8, "heads": 2, "layers": 1, {text}}}}}"#
    );
    let bench = Bench::of(&config);
    let choice = TrimmedVocabulary {
        kept: kept.len(),
        of: 50,
        texts: 1,
        texts_sha256: "0".repeat(64),
        hidden: HiddenTexts::default(),
    };
    let vocabulary = Some(Arc::new(Vocabulary { kept: Arc::from(kept), choice }));
    let options = SourceOptions { vocabulary, ..bench.options() };
    Source::resolve(bench.write_source("modern.safetensors"), &options).map_err(|error| error.to_string())
}

#[test]
fn ids_of_a_modern_text_follow_its_trimmed_vocabulary() {
    let own = r#""hf_tokenizer_name": "own", "pad_id": 7, "bos_id": 3, "eos_id": 40"#;
    let source = trimmed(own, &[3, 7, 9, 40]).unwrap();
    let text = &source.config().model.text;
    assert_eq!((text.vocab_size, text.begin_id, text.pad_id, text.eos_id), (4, Some(0), 1, 3));
    let written = source.config().model.to_json();
    for member in [r#""bos_id": 0"#, r#""pad_id": 1"#, r#""eos_id": 3"#, r#""vocab_size": 4"#] {
        assert!(written.contains(member), "{member}: {written}");
    }
    // CLIP's tokenizer pads with the end once it is trimmed.
    let source = trimmed(r#""eos_id": 40"#, &[3, 40]).unwrap();
    let text = &source.config().model.text;
    assert_eq!((text.pad_id, text.eos_id, text.tokenizer.name.as_deref()), (1, 1, Some("tokenizer")));
    for (text, kept, says) in [
        (own, &[3, 7][..], "token 40, at which texts end, is not among the kept ones"),
        (own, &[3, 40], "token 7, which is padding, is not among the kept ones"),
        (own, &[7, 40], "token 3, with which texts begin, is not among the kept ones"),
        (
            r#""eos_id": 4, "tokenizer_type": "tiktoken""#,
            &[4],
            "tiktoken's `cl100k_base`, which is known by its name",
        ),
    ] {
        let error = trimmed(text, kept).unwrap_err();
        assert!(error.contains(says), "{says}: {error}");
    }
}
