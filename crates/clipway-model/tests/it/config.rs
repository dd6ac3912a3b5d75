//! Configs: what is read, what is refused and where, and what is written back.

use std::path::PathBuf;

use clipway_formats::{Code, Place};
use clipway_model::config::{
    ConfigFile, Interpolation, ModelConfig, PreprocessConfig, ResizeMode, TokenizerSource,
};
use clipway_model::contract::Clean;
use clipway_model::registry;

/// Returns a small config with changes: members added to the vision config, the text config and the model config.
pub fn small(vision: &str, text: &str, model: &str) -> String {
    let vision_base = r#""image_size": 32, "layers": 2, "width": 64, "head_width": 16, "patch_size": 8"#;
    let text_base = r#""context_length": 16, "vocab_size": 100, "width": 64, "heads": 4, "layers": 2"#;
    // A given member replaces the base's.
    let merge = |base: &str, changes: &str| {
        let key = changes.split(':').next().unwrap_or_default();
        let kept = base.split(", ").filter(|member| changes.is_empty() || !member.starts_with(key));
        kept.chain((!changes.is_empty()).then_some(changes)).collect::<Vec<_>>().join(", ")
    };
    let (vision, text) = (merge(vision_base, vision), merge(text_base, text));
    let model = merge(r#""embed_dim": 64"#, model);
    format!(r#"{{{model}, "vision_cfg": {{{vision}}}, "text_cfg": {{{text}}}}}"#)
}

#[test]
fn wrong_configs_are_refused_with_their_place() {
    let check = |(vision, text, model): (&str, &str, &str), code: Code, path: &str, cause: &str| {
        let config = small(vision, text, model);
        let error = ModelConfig::parse(config.as_bytes()).unwrap_err();
        assert_eq!((error.code, &error.place), (code, &Place::Json(path.to_owned())), "{config}: {error}");
        assert!(error.cause.contains(cause), "{config}: {error}");
    };
    use Code::{BadValue, UnknownKey};
    check(("\"hed_width\": 16", "", ""), UnknownKey, "$.vision_cfg.hed_width", "`head_width`");
    check(("", "\"no_causal\": true", ""), UnknownKey, "$.text_cfg.no_causal", "`no_causal_mask`");
    check(("", "", "\"zzz\": 1"), UnknownKey, "$.zzz", "unknown key");
    check(("\"width\": 0", "", ""), BadValue, "$.vision_cfg.width", "from 1 to");
    check(("\"width\": 64.0", "", ""), BadValue, "$.vision_cfg.width", "an integer");
    check(("", "", "\"init_logit_scale\": 1e308"), BadValue, "$.init_logit_scale", "found 1e308");
    check(("\"head_width\": 48", "", ""), BadValue, "$.vision_cfg.head_width", "does not divide");
    check(("\"patch_size\": 64", "", ""), BadValue, "$.vision_cfg.patch_size", "tokens");
    check(("\"patch_size\": null", "", ""), BadValue, "$.vision_cfg.patch_size", "needs a patch size");
    check(("\"layers\": [1, 2]", "", ""), BadValue, "$.vision_cfg.layers", "4 stages");
    check(("\"layers\": 1000000000", "", ""), BadValue, "$.vision_cfg.layers", "from 1 to 1024");
    check(
        ("\"image_size\": [24, 40, 8]", "", ""),
        BadValue,
        "$.vision_cfg.image_size",
        "an array of length 3",
    );
    check(
        ("\"act_kwargs\": {\"approximate\": \"sin\"}", "", ""),
        BadValue,
        "$.vision_cfg.act_kwargs.approximate",
        "`tanh`",
    );
    check(
        ("\"attentional_pool\": \"serial\"", "", ""),
        BadValue,
        "$.vision_cfg.attentional_pool",
        "`parallel`",
    );
    check(("\"mlp_ratio\": 0.001", "", ""), BadValue, "$.vision_cfg.mlp_ratio", "reduces a width of 64 to 0");
    check(("", "\"heads\": 5", ""), BadValue, "$.text_cfg.heads", "does not divide");
    check(
        ("", "\"proj_type\": \"none\"", "\"embed_dim\": 32"),
        BadValue,
        "$.text_cfg.proj_type",
        "without a projection",
    );
    check(("", "\"hf_model_name\": \"../../etc\"", ""), BadValue, "$.text_cfg.hf_model_name", "a model name");
    check(("", "", "\"quick_gelu\": 1"), BadValue, "$.quick_gelu", "`true` or `false`");
    check(("", "", "\"multimodal_cfg\": {}"), BadValue, "$.multimodal_cfg", "custom_text");
}

#[test]
fn options_that_exclude_each_other_are_refused() {
    let quick = small("\"act_kwargs\": {\"approximate\": \"tanh\"}", "", "\"quick_gelu\": true");
    let quick = quick.replace("{\"quick_gelu\": true", "{\"quick_gelu\": true, \"embed_dim\": 64");
    for config in [quick, small("\"qk_norm\": true, \"scaled_cosine_attn\": true", "", "")] {
        let error = ModelConfig::parse(config.as_bytes()).unwrap_err();
        assert!(error.cause.contains("are mutually exclusive"), "{config}: {error}");
    }
}

#[test]
fn a_config_file_gives_preprocessing_over_the_defaults() {
    let model = small("\"image_size\": [24, 40]", "", "");
    let check = |preprocess: &str, expected: PreprocessConfig| {
        let text =
            format!(r#"{{"model_cfg": {model}, "preprocess_cfg": {preprocess}, "model_type": "clip"}}"#);
        assert_eq!(ConfigFile::parse(text.as_bytes()).unwrap().preprocess(), expected, "{preprocess}");
    };
    let default = PreprocessConfig::new([24, 40]);
    check("{}", default.clone());
    check(r#"{"size": 224, "mean": null}"#, default.clone());
    check(
        r#"{"mean": [0, 0.5, 1], "std": 0.5, "interpolation": "bilinear", "resize_mode": "longest", "fill_color": 9}"#,
        PreprocessConfig {
            size: [24, 40],
            mean: [0.0, 0.5, 1.0],
            std: [0.5; 3],
            interpolation: Interpolation::Bilinear,
            resize_mode: ResizeMode::Longest,
            fill_color: 9,
            ..default.clone()
        },
    );
}

#[test]
fn a_config_is_written_with_the_keys_it_had_and_an_explicit_activation() {
    let config = ModelConfig::parse(
        br#"{"text_cfg": {"heads": 8}, "embed_dim": 512, "vision_cfg": {"norm_kwargs": {"eps": 1e-06}}}"#,
    );
    let expected = r#"{
  "text_cfg": {
    "heads": 8
  },
  "embed_dim": 512,
  "vision_cfg": {
    "norm_kwargs": {
      "eps": 1e-6
    }
  },
  "quick_gelu": false
}
"#;
    let config = config.unwrap();
    assert_eq!(config.to_json(), expected);
    assert!(!config.states_quick_gelu());
}

#[test]
fn what_is_written_reads_back_for_the_whole_registry() {
    for name in registry::names() {
        let config = registry::model(name).unwrap();
        let text = config.to_config_file(&PreprocessConfig::new(config.vision.image_size));
        let again = ConfigFile::parse(text.as_bytes()).unwrap();
        assert_eq!(again.model.to_json(), config.to_json(), "{name}");
        assert!(again.model.states_quick_gelu(), "{name}");
        assert_eq!(again.preprocess(), PreprocessConfig::new(config.vision.image_size), "{name}");
    }
}

#[test]
fn tokenizer_keys_are_read_once() {
    let read = |text: &str| {
        let config = format!(r#"{{"embed_dim": 8, "vision_cfg": {{}}, "text_cfg": {text}}}"#);
        ModelConfig::parse(config.as_bytes()).map(|model| match model.text.tokenizer_source() {
            TokenizerSource::Clip(rules) => (String::new(), rules.context_length, rules.clean),
            TokenizerSource::HuggingFace { name, options } => (name, options.context_length, options.clean),
            other => panic!("{other:?}"),
        })
    };
    let fits = |text: &str, name: &str, length: usize, clean: Clean| {
        assert_eq!(read(text).unwrap(), (name.to_owned(), length, clean), "{text}");
    };
    fits("{}", "", 77, Clean::Lower);
    fits(r#"{"context_length": 76}"#, "", 76, Clean::Lower);
    fits(r#"{"hf_tokenizer_name": "", "tokenizer_mode": ""}"#, "", 77, Clean::Lower);
    fits(r#"{"hf_tokenizer_name": "bert"}"#, "bert", 77, Clean::Whitespace);
    let canonical = r#"{"hf_tokenizer_name": "s", "tokenizer_kwargs": {"clean": "canonicalize"}}"#;
    fits(canonical, "s", 77, Clean::Canonicalize);
    fits(
        r#"{"tokenizer_kwargs": {"reduction_mask": "", "additional_special_tokens": null}}"#,
        "",
        77,
        Clean::Lower,
    );
    let refused = |text: &str, key: &str, code: Code| {
        let error = read(text).unwrap_err();
        assert_eq!(error.place, Place::Json(format!("$.text_cfg.{key}")), "{text}: {error}");
        assert_eq!(error.code, code, "{text}: {error}");
    };
    refused(
        r#"{"tokenizer_kwargs": {"reduction_mask": "random"}}"#,
        "tokenizer_kwargs.reduction_mask",
        Code::Unsupported,
    );
    refused(
        r#"{"tokenizer_kwargs": {"additional_special_tokens": ["<x>"]}}"#,
        "tokenizer_kwargs.additional_special_tokens",
        Code::Unsupported,
    );
    refused(
        r#"{"tokenizer_kwargs": {"strip_sep_token": true}}"#,
        "tokenizer_kwargs.strip_sep_token",
        Code::UnknownKey,
    );
    refused(
        r#"{"tokenizer_kwargs": {"language": "eng_Latn"}}"#,
        "tokenizer_kwargs.language",
        Code::UnknownKey,
    );
    refused(r#"{"tokenizer_kwargs": {"clean": "upper"}}"#, "tokenizer_kwargs.clean", Code::BadValue);
    refused(r#"{"tokenizer_kwargs": {"clean": "nothing"}}"#, "tokenizer_kwargs.clean", Code::BadValue);
    let fast = r#"{"hf_tokenizer_name": "s", "tokenizer_kwargs": {"use_fast": false}}"#;
    refused(fast, "tokenizer_kwargs.use_fast", Code::UnknownKey);
    refused(r#"{"hf_tokenizer_name": "s", "tokenizer_mode": "other"}"#, "tokenizer_mode", Code::BadValue);
}

#[test]
fn changes_follow_the_rules_of_reading() {
    let mut config = registry::model("ViT-B-32").unwrap();
    config.set_image_size([384, 320]).unwrap();
    config.set_context_length(16).unwrap();
    config.set_quick_gelu(true).unwrap();
    config.set_custom_text(true).unwrap();
    let again = ModelConfig::parse(config.to_json().as_bytes()).unwrap();
    assert_eq!(again.vision.image_size, [384, 320]);
    assert_eq!((again.text.context_length, again.quick_gelu, again.custom_text), (16, true, true));
    let before = config.clone();
    assert!(config.set_image_size([16, 16]).is_err());
    assert!(config.set_context_length(0).is_err());
    assert!(config.set_tokenizer("/etc/passwd", Clean::Lower).is_err());
    assert_eq!(config, before);
}

#[test]
fn the_corpus_comes_out_as_it_should() {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared"));
    let corpus = std::env::var_os("CLIPWAY_SHARED").map_or_else(beside, PathBuf::from).join("corpus");
    let Ok(manifest) = std::fs::read(corpus.join("manifest.json")) else {
        eprintln!("skipped: no shared files at {}", corpus.display());
        return;
    };
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let mut counts = [0, 0];
    for file in manifest["files"].as_array().unwrap().iter().filter(|file| file["format"] == "config") {
        let path = file["path"].as_str().unwrap();
        let bytes = std::fs::read(corpus.join(path)).unwrap();
        let loads = file["expectation"] == "load";
        let outcome = ConfigFile::parse(&bytes);
        assert_eq!(outcome.is_ok(), loads, "{path}: {:?}", outcome.err());
        counts[usize::from(loads)] += 1;
    }
    assert!(counts[0] >= 40 && counts[1] >= 3, "{counts:?}");
}

#[test]
fn words_of_preprocessing_are_read_as_they_are_written() {
    for one in [Interpolation::Bicubic, Interpolation::Bilinear, Interpolation::Random] {
        assert_eq!(Interpolation::from_name(one.name()), Some(one));
    }
    for one in [ResizeMode::Shortest, ResizeMode::Longest, ResizeMode::Squash] {
        assert_eq!(ResizeMode::from_name(one.name()), Some(one));
    }
    assert_eq!(Interpolation::from_name("nearest"), None);
    assert_eq!(ResizeMode::from_name("Squash"), None);
}

#[test]
fn what_is_built_is_what_is_written() {
    let config = small("", "", "");
    let mut config = ModelConfig::parse(config.as_bytes()).unwrap();
    config.set_embed_dim(32).unwrap();
    config.set_image_size([48, 32]).unwrap();
    config.set_context_length(12).unwrap();
    let built = clipway_model::architecture::build(&config).unwrap();
    let again = ModelConfig::parse(config.to_json().as_bytes()).unwrap();
    assert_eq!(clipway_model::architecture::build(&again).unwrap(), built);
    assert_eq!((built.embed_dim, built.image_size, built.context_length), (32, [48, 32], 12));
    // A refused change leaves the config as it was.
    let before = config.clone();
    config.set_embed_dim(0).unwrap_err();
    assert_eq!(config, before);
}

#[test]
fn keys_of_open_clip_since_3_3_are_read_and_those_without_effect_are_not_written() {
    let vision = r#""image_seq_len": 576"#;
    let text = r#""text_arch": "clip""#;
    let config = ModelConfig::parse(small(vision, text, "").as_bytes()).unwrap();
    let written = config.to_json();
    assert!(!written.contains("image_seq_len") && !written.contains("text_arch"), "{written}");
    let variable = ModelConfig::parse(small("", r#""variable_text": true"#, "").as_bytes()).unwrap();
    assert!(!variable.to_json().contains("variable_text"));
}

#[test]
fn settings_of_towers_for_any_aspect_ratio_are_checked() {
    let naflex = |kwargs: &str| {
        let trunk = r#""timm_model_name": "naflexvit_base_patch16_gap""#;
        small(&format!(r#"{trunk}, "timm_model_kwargs": {{{kwargs}}}"#), "", "")
    };
    for (config, code, says) in [
        (small(r#""image_seq_len": 0"#, "", ""), Code::BadValue, "image_seq_len"),
        (naflex(r#""pos_embed_grid_size": [0, 4]"#), Code::BadValue, "pos_embed_grid_size"),
        (naflex(r#""pos_embed_grid_size": [4]"#), Code::BadValue, "pos_embed_grid_size"),
        (naflex(r#""reg_tokens": -1"#), Code::BadValue, "reg_tokens"),
        (naflex(r#""class_token": 1"#), Code::BadValue, "class_token"),
        (naflex(r#""swiglu_mlp": 1"#), Code::BadValue, "swiglu_mlp"),
        (naflex(r#""pos_embed": "rope""#), Code::BadValue, "`factorized`"),
        (naflex(r#""pos_embed_ar_preserving": 1"#), Code::BadValue, "pos_embed_ar_preserving"),
        (naflex(r#""pos_embed_grid": [4, 4]"#), Code::UnknownKey, "pos_embed_grid_size"),
    ] {
        let error = ModelConfig::parse(config.as_bytes()).unwrap_err();
        assert_eq!(error.code, code, "{config}: {error}");
        assert!(error.to_string().contains(says), "{config}: {error}");
    }
    for (config, says) in [
        (naflex(r#""img_size": 64"#), "`pos_embed_grid_size`"),
        (
            naflex("").replace("base_patch16_gap", "base_patch16_radio_v3"),
            "known names: naflexvit_base_patch16_gap",
        ),
        (naflex(r#""patch_size": 12"#), "must be a whole number of 12-pixel patches"),
        (
            naflex("")
                .replace("naflexvit_base_patch16_gap", "vit_base_patch16_224")
                .replace("{}", r#"{"reg_tokens": 1}"#),
            "only `naflexvit_…` towers support it",
        ),
        (
            naflex("")
                .replace("naflexvit_base_patch16_gap", "vit_base_patch16_224")
                .replace("{}", r#"{"swiglu_mlp": true}"#),
            "timm_model_kwargs.swiglu_mlp",
        ),
        (
            naflex("")
                .replace("naflexvit_base_patch16_gap", "vit_base_patch16_224")
                .replace("{}", r#"{"pos_embed": "none"}"#),
            "only `naflexvit_…` towers support it",
        ),
        (
            naflex("").replace("\"timm_model_name\"", "\"timm_pool\": \"token\", \"timm_model_name\""),
            "no class token",
        ),
        (
            naflex("").replace("\"timm_model_name\"", "\"timm_pool\": \"prr\", \"timm_model_name\""),
            "its pools are token",
        ),
    ] {
        let config = ModelConfig::parse(config.as_bytes()).unwrap();
        let error = clipway_model::architecture::build(&config).unwrap_err().to_string();
        assert!(error.contains(says), "{says}: {error}");
    }
}

#[test]
fn the_end_token_that_pooling_needs_is_always_written() {
    for (text, expected) in [
        (r#""pool_type": "eos""#, Some("\"eos_id\": 2")),
        (r#""eos_id": 99"#, Some("\"eos_id\": 99")),
        (r#""pool_type": "argmax""#, None),
    ] {
        let written = ModelConfig::parse(small("", text, "").as_bytes()).unwrap().to_json();
        match expected {
            Some(expected) => assert!(written.contains(expected), "{written}"),
            None => assert!(!written.contains("eos_id"), "{written}"),
        }
    }
}

#[test]
fn other_models_of_open_clip_are_named() {
    for (config, says) in [
        (
            small("", "", r#""audio_cfg": {"model_type": "HTSAT"}"#),
            "this is a CLAP, which compares audio and texts",
        ),
        (small("", "", r#""genlip_cfg": {}"#), "this is a GenLIP, which writes texts"),
        (small("", "", r#""genlap_cfg": {}"#), "this is a GenLAP, which writes texts"),
        (
            small("", r#""hf_model_config": {"hidden_size": 8}"#, ""),
            "a text tower with another `hidden_size` is not supported",
        ),
    ] {
        let error = ModelConfig::parse(config.as_bytes()).unwrap_err();
        assert_eq!(error.code, Code::Unsupported, "{config}: {error}");
        assert!(error.to_string().contains(says), "{config}: {error}");
    }
}
