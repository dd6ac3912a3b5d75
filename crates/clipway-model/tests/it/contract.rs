//! The origins recorded in a source's contract.

use std::fs;

use clipway_model::contract::{Field, Origin};
use clipway_model::source::{ModelChoice, Source, SourceOptions};

use crate::bench::Bench;

/// Returns value and origin of a field, as a table shows them.
fn row(source: &Source, field: Field) -> (String, String) {
    let rows = source.whole_contract().unwrap().rows();
    let row = rows.into_iter().find(|row| row.field == field.name()).unwrap_or_else(|| panic!("{field:?}"));
    (row.value, row.from)
}

#[track_caller]
fn check(source: &Source, field: Field, value: &str, from: &str) {
    assert_eq!(row(source, field), (value.to_owned(), from.to_owned()), "{field:?}");
}

#[test]
fn each_field_says_where_it_is_known_from() {
    let bench = Bench::new();
    let path = bench.write_source("tiny.safetensors");
    let mut options = bench.options();
    options.preprocess.mean = Some([0.5; 3]);
    let source = Source::resolve(&path, &options).unwrap();
    check(&source, Field::Mean, "0.5, 0.5, 0.5", "set by the option `image_mean`");
    check(&source, Field::ResizeMode, "shortest", "open_clip's default: not set in `tiny.json`");
    check(&source, Field::ImageSize, "8 x 8", "`tiny.json`, `vision_cfg.image_size`");
    check(&source, Field::Pooling, "token with the highest id", "`tiny.json`, `text_cfg.pool_type`");
    check(&source, Field::Activation, "QuickGELU", "`tiny.json`, `quick_gelu`");
    check(&source, Field::TextEpsilon, "1e-5", "`tiny.json`, `text_cfg`");
    let scale = f32::from_le_bytes(
        bench.tensors.iter().find(|(info, _)| info.name == "logit_scale").unwrap().1[..].try_into().unwrap(),
    );
    check(&source, Field::LogitScale, &scale.exp().to_string(), "tensor `logit_scale`");
    let longer = SourceOptions { context_length: Some(9), ..bench.options() };
    let source = Source::resolve(&path, &longer).unwrap();
    check(&source, Field::ContextLength, "9 tokens", "set by the option `context_length`");
}

#[test]
fn weights_that_state_no_preprocessing_have_an_assumed_one() {
    let bench = Bench::new();
    let path = bench.write_source("tiny.safetensors");
    let config =
        clipway_model::config::ConfigFile::parse(&fs::read(bench.path("tiny.json")).unwrap()).unwrap();
    let model = Some(ModelChoice::Config(Box::new(config)));
    let source = Source::resolve(&path, &SourceOptions { model, ..SourceOptions::default() }).unwrap();
    let image = source.contract().image.as_ref().unwrap();
    assert!(image.mean.from.is_assumed() && image.interpolation.from.is_assumed());
    assert_eq!(image.size.from, Origin::option("model"));
}

#[test]
fn an_artifact_keeps_the_origins_of_what_it_was_made_of() {
    let bench = Bench::new();
    bench.export(&bench.options()).unwrap();
    let source = Source::resolve(bench.target(), &SourceOptions::default()).unwrap();
    let from = "the source's `clipway.json`: `tiny.json`, `text_cfg.pool_type`";
    check(&source, Field::Pooling, "token with the highest id", from);
    // A value edited afterwards comes from the config itself.
    let path = bench.target().join("open_clip_config.json");
    let config = fs::read_to_string(&path).unwrap().replace("\"bicubic\"", "\"bilinear\"");
    fs::write(&path, config).unwrap();
    let source = Source::resolve(bench.target(), &SourceOptions::default()).unwrap();
    let from = "`open_clip_config.json`, `preprocess_cfg.interpolation`";
    check(&source, Field::Interpolation, "bilinear", from);
    // The folder's own library does not read `clipway.json`.
    let alone = SourceOptions { ignore_artifact: true, ..SourceOptions::default() };
    let source = Source::resolve(bench.target(), &alone).unwrap();
    check(
        &source,
        Field::Pooling,
        "token with the highest id",
        "`open_clip_config.json`, `text_cfg.pool_type`",
    );
    assert!(source.artifact().is_none());
}

#[test]
fn one_tower_has_one_tower_s_contract() {
    let bench = Bench::new();
    let path = bench.write_source("tiny.safetensors");
    let options = SourceOptions { tower: Some(clipway_model::plan::Towers::Text), ..bench.options() };
    let contract = Source::resolve(&path, &options).unwrap().contract().clone();
    assert!(contract.image.is_none() && contract.text.is_some());
}
