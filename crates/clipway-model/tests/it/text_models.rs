//! transformers text models: the config next to the weights, and what an export carries along.

use std::fs;
use std::sync::Arc;

use clipway_model::checkpoint::Checkpoint;
use clipway_model::config::ModelConfig;
use clipway_model::config::text_model::TextModel;
use clipway_model::contract::{HiddenTexts, TrimmedVocabulary};
use clipway_model::plan::Towers;
use clipway_model::source::{Source, SourceOptions, Vocabulary};

use crate::bench::Bench;

const CONFIG: &str = r#"{"embed_dim": 8,
    "vision_cfg": {"image_size": 8, "layers": 1, "width": 16, "head_width": 8, "patch_size": 4},
    "text_cfg": {"hf_model_name": "small/roberta", "hf_pooler_type": "cls_pooler", "context_length": 6}}"#;

const TEXT_MODEL: &str = r#"{"model_type": "roberta", "vocab_size": 20, "hidden_size": 12, "num_hidden_layers": 2,
    "num_attention_heads": 3, "intermediate_size": 10, "max_position_embeddings": 10, "type_vocab_size": 1,
    "_name_or_path": "anything", "torch_dtype": "float32"}"#;

fn bench() -> Bench {
    let mut model = ModelConfig::parse(CONFIG.as_bytes()).unwrap();
    model.set_text_model(TextModel::parse(TEXT_MODEL.as_bytes()).unwrap().unwrap());
    Bench::of_model(CONFIG, &model)
}

/// Returns the error of an export with this file next to the weights.
fn refused(file: Option<&str>) -> String {
    let bench = bench();
    if let Some(file) = file {
        fs::write(bench.path("config.json"), file).unwrap();
    }
    let error = bench.export(&bench.options()).unwrap_err();
    assert!(!bench.target().exists());
    error.to_string()
}

#[test]
fn the_config_beside_the_weights_describes_the_text_model() {
    let bench = bench();
    fs::write(bench.path("config.json"), TEXT_MODEL).unwrap();
    bench.export(&bench.options()).unwrap();
    assert_eq!(fs::read_to_string(bench.target().join("config.json")).unwrap(), TEXT_MODEL);
    let config = fs::read_to_string(bench.target().join("open_clip_config.json")).unwrap();
    assert!(config.contains("small/roberta"), "{config}");

    let again = Arc::new(Checkpoint::open(bench.target()).unwrap());
    let prepared = Source::of(Arc::clone(&again), &SourceOptions::default()).unwrap();
    assert_eq!((prepared.model().vocab_size, prepared.model().context_length), (20, 6));
    assert!(prepared.notes().iter().any(|note| note.contains("`config.json`")), "{:?}", prepared.notes());
    // The context length is up to the tokenizer: no tensor depends on it.
    let longer = SourceOptions { context_length: Some(8), ..SourceOptions::default() };
    assert_eq!(Source::of(again, &longer).unwrap().model().context_length, 8);
}

#[test]
fn a_text_model_that_is_not_known_needs_its_config() {
    let unknown = "unknown text model `small/roberta`";
    assert!(refused(None).contains(unknown), "{}", refused(None));
    // A config of another kind of model does not describe the text model.
    let other = refused(Some(r#"{"model_type": "clip"}"#));
    assert!(other.contains(unknown) && other.contains("`roberta-base`"), "{other}");
}

#[test]
fn a_config_that_does_not_fit_is_refused_with_all_differences() {
    let deeper = refused(Some(&TEXT_MODEL.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3")));
    let missing = "text.transformer.encoder.layer.2.attention.self.query.weight";
    assert!(deeper.contains(missing) && deeper.matches("encoder.layer.2.").count() == 16, "{deeper}");
    let wider = refused(Some(&TEXT_MODEL.replace("\"intermediate_size\": 10", "\"intermediate_size\": 11")));
    assert!(wider.contains("expected [11, 12], found [10, 12]"), "{wider}");
    let unknown = refused(Some(&TEXT_MODEL.replace("hidden_size", "hidden_sise")));
    assert!(unknown.contains("config.json") && unknown.contains("`hidden_size`"), "{unknown}");
    let malformed = refused(Some("{"));
    assert!(malformed.contains("config.json"), "{malformed}");
}

const COCA: &str = r#"{"embed_dim": 8, "custom_text": true,
    "vision_cfg": {"image_size": 8, "layers": 1, "width": 16, "head_width": 8, "patch_size": 4},
    "text_cfg": {"width": 8, "heads": 2, "layers": 1, "context_length": 4, "vocab_size": 9, "embed_cls": true},
    "multimodal_cfg": {"width": 8, "heads": 2, "layers": 2}}"#;

#[test]
fn the_vocabulary_of_coca_is_not_trimmed() {
    let bench = Bench::of_model(COCA, &ModelConfig::parse(COCA.as_bytes()).unwrap());
    let choice = TrimmedVocabulary {
        kept: 2,
        of: 9,
        texts: 1,
        texts_sha256: "0".repeat(64),
        hidden: HiddenTexts::default(),
    };
    let vocabulary = Some(Arc::new(Vocabulary { kept: Arc::from([0, 8]), choice }));
    let error = bench.export(&SourceOptions { vocabulary, ..bench.options() }).unwrap_err();
    assert!(error.to_string().contains("a CoCa cannot be trimmed: its decoder writes texts"), "{error}");
    assert!(!bench.target().exists());
}

#[test]
fn the_decoder_of_coca_is_written_with_the_whole_model_alone() {
    let model = ModelConfig::parse(COCA.as_bytes()).unwrap();
    let written = |tower: Towers| {
        let bench = Bench::of_model(COCA, &model);
        let report = bench.export(&SourceOptions { tower: Some(tower), ..bench.options() }).unwrap();
        assert_eq!(report.ledger.source_tensors, bench.tensors.len());
        report.artifact.tensors.keys().filter(|name| name.starts_with("text_decoder.")).count()
    };
    let tensors = [Towers::Both, Towers::Text, Towers::Image].map(written);
    // Two blocks of twelve tensors, two with one more norm, the last norm and the projection.
    assert_eq!(tensors, [2 * 12 + 2 * 14 + 2 + 1, 0, 0]);
}

/// A model whose text tower is a BERT, `width` wide, with the description of it.
fn bert(width: usize, heads: usize, kind: &str) -> (Bench, String) {
    let config = CONFIG.replace("small/roberta", "some/bert").replace("cls_pooler", "mean_pooler");
    let (types, positions) = if kind == "bert" { (2, 16) } else { (1, 18) };
    let described = format!(
        r#"{{"model_type": "{kind}", "vocab_size": 20, "hidden_size": {width}, "num_hidden_layers": 2, "num_attention_heads": {heads},
        "intermediate_size": 10, "max_position_embeddings": {positions}, "type_vocab_size": {types}, "layer_norm_eps": 1e-7}}"#
    );
    let mut model = ModelConfig::parse(config.as_bytes()).unwrap();
    model.set_text_model(TextModel::parse(described.as_bytes()).unwrap().unwrap());
    (Bench::of_model(&config, &model), described)
}

#[test]
fn a_local_folder_of_the_model_s_name_describes_it() {
    let (bench, described) = bert(24, 3, "bert");
    fs::create_dir_all(bench.path("some/bert")).unwrap();
    fs::write(bench.path("some/bert/config.json"), &described).unwrap();
    let source = Source::resolve(bench.write_source("tiny.safetensors"), &bench.options()).unwrap();
    let model = source.config().model.text_model().unwrap();
    assert_eq!((model.heads, model.width, model.epsilon), (3, 24, 1e-7));
    let note = "the text model is described by `config.json` in the folder `some/bert`";
    assert!(source.notes().iter().any(|found| found == note), "{:?}", source.notes());
    // The `config.json` beside the weights takes precedence.
    fs::write(
        bench.path("config.json"),
        described.replace("\"num_attention_heads\": 3", "\"num_attention_heads\": 4"),
    )
    .unwrap();
    let source = Source::resolve(bench.path("tiny.safetensors"), &bench.options()).unwrap();
    assert_eq!(source.config().model.text_model().unwrap().heads, 4);
    // Another kind of model in the folder is named.
    fs::remove_file(bench.path("config.json")).unwrap();
    fs::write(bench.path("some/bert/config.json"), r#"{"model_type": "distilbert"}"#).unwrap();
    let error = Source::resolve(bench.path("tiny.safetensors"), &bench.options()).unwrap_err();
    assert_eq!(error.code(), "unsupported");
    assert!(error.to_string().contains("a text model of the kind `distilbert` is not supported"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_link_out_of_the_folder_describes_nothing() {
    let (bench, described) = bert(24, 3, "bert");
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("config.json"), described).unwrap();
    fs::create_dir(bench.path("some")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), bench.path("some/bert")).unwrap();
    let error = Source::resolve(bench.write_source("tiny.safetensors"), &bench.options()).unwrap_err();
    assert_eq!(error.code(), "path-escape", "{error}");
}

#[test]
fn a_bert_is_known_by_its_shapes_and_its_heads_are_assumed() {
    for (kind, title, family, pad) in [("bert", "BERT", "bert", 0), ("roberta", "RoBERTa", "xlm-roberta", 1)]
    {
        let (bench, _) = bert(128, 2, kind);
        let source = Source::resolve(bench.write_source("tiny.safetensors"), &bench.options()).unwrap();
        let model = source.config().model.text_model().unwrap();
        assert_eq!((model.family.name(), model.heads, model.pad_id, model.layers), (family, 2, pad, 2));
        let note = format!("the text model was taken for a {title} by its shapes, with 2 heads of 64");
        assert!(source.notes().iter().any(|found| found.starts_with(&note)), "{:?}", source.notes());
        bench.export(&bench.options()).unwrap();
        let again = Source::resolve(bench.target(), &SourceOptions::default()).unwrap();
        assert_eq!(again.config().model.text_model(), Some(model), "the folder carries the description");
    }
    // Where heads of 64 do not divide the width, nothing is assumed.
    let (bench, _) = bert(24, 3, "bert");
    let error = Source::resolve(bench.write_source("tiny.safetensors"), &bench.options()).unwrap_err();
    assert!(error.to_string().contains("unknown text model `some/bert`"), "{error}");
    // A config of another kind is named.
    fs::write(bench.path("config.json"), r#"{"model_type": "distilbert"}"#).unwrap();
    let error = Source::resolve(bench.path("tiny.safetensors"), &bench.options()).unwrap_err();
    assert!(error.to_string().contains("of the kind `distilbert`"), "{error}");
}
