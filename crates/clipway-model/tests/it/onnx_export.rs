//! Folders of ONNX files: their names, their contents, and refusals.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clipway_formats::{OnnxFile, TensorFile};
use clipway_model::artifact::Artifact;
use clipway_model::checkpoint::Checkpoint;
use clipway_model::export::{Export, ExportError, ExportReport, WriteOptions};
use clipway_model::plan::{Precision, Towers};
use clipway_model::source::{Source, SourceOptions};
use clipway_model::spelling::Target;
use clipway_model::spelling::onnx::OnnxSettings;

use super::bench::{Bench, CONFIG, write_options};

fn export(
    bench: &Bench,
    target: &str,
    options: SourceOptions,
    settings: OnnxSettings,
    place: &str,
) -> Result<ExportReport, ExportError> {
    let target = Target::named(target).unwrap();
    let checkpoint = Checkpoint::open(bench.write_source("tiny.safetensors")).unwrap();
    let cancel = AtomicBool::new(false);
    let write = WriteOptions { formats: vec![target.format], ..write_options(&cancel) };
    let source = Source::of(checkpoint, &options)?;
    Export::prepare(&source, target.spelling)?.with_onnx(settings).write(&bench.path(place), &write)
}

/// Collects every file below a folder, by path.
fn files(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            files(&path, &format!("{name}/"), found);
        } else {
            found.insert(name);
        }
    }
}

#[test]
fn folders_are_those_of_their_programs() {
    let bench = Bench::new();
    let check = |target: &str, options: SourceOptions, expected: &[&str]| {
        let place = format!("out/{target}-{:?}", options.tower);
        let report = export(&bench, target, options.clone(), OnnxSettings::default(), &place).unwrap();
        let mut found = BTreeSet::new();
        files(&report.folder, "", &mut found);
        let always = ["README.md", "clipway.json"];
        let expected: BTreeSet<String> =
            expected.iter().chain(&always).map(|name| (*name).to_owned()).collect();
        assert_eq!(found, expected, "{target}");
        let hashes = Artifact::check_hashes(&report.folder).unwrap();
        assert!(hashes.is_right(), "{hashes:?}");
        assert_eq!(hashes.files, expected.len() - 1);
        // The same bytes in another place.
        let again = format!("{place}-again");
        let second = export(&bench, target, options, OnnxSettings::default(), &again).unwrap();
        for name in &expected {
            let [one, two] = [&report, &second].map(|report| fs::read(report.folder.join(name)).unwrap());
            assert!(one == two, "{target}: {name}");
        }
    };
    let own = ["visual.onnx", "visual.onnx.data", "open_clip_config.json", "model_config.json"];
    let texts = ["text.onnx", "text.onnx.data", "tokenizer.json"];
    check("onnx", bench.options(), &[&own[..], &texts[..]].concat());
    let image = SourceOptions { tower: Some(Towers::Image), ..bench.options() };
    check("onnx", image, &[&own[..], &["tokenizer.json"]].concat());
    let immich = ["visual/model.onnx", "visual/preprocess_cfg.json", "config.json"];
    let texts = ["textual/model.onnx", "textual/tokenizer.json"];
    check("onnx-immich", bench.options(), &[&immich[..], &texts[..]].concat());
    let transformers = ["onnx/vision_model.onnx", "onnx/text_model.onnx", "tokenizer.json"];
    let configs = ["config.json", "preprocessor_config.json"];
    check("onnx-transformers", bench.options(), &[&transformers[..], &configs[..]].concat());
}

#[test]
fn files_say_what_they_are() {
    let bench = Bench::new();
    let settings = OnnxSettings { normalize: Some(false), ..OnnxSettings::default() };
    let report = export(&bench, "onnx-immich", bench.options(), settings, "out/said").unwrap();
    let open = |name: &str| {
        let bytes = fs::read(report.folder.join(name)).unwrap();
        OnnxFile::open(Arc::new(bytes), &mut |_| panic!("all is in the file")).unwrap()
    };
    let file = open("textual/model.onnx");
    let said = |key: &str| {
        let found = file.metadata().iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    assert_eq!(said("clipway.tower"), "text");
    assert_eq!(said("clipway.normalized"), "false");
    assert_eq!(said("clipway.context_length"), "6");
    assert!(said("clipway.config").contains("preprocess_cfg"));
    let preprocess = fs::read_to_string(report.folder.join("visual/preprocess_cfg.json")).unwrap();
    assert!(preprocess.contains("\"resize_mode\": \"shortest\""), "{preprocess}");
    // An unchanged tensor keeps its own name.
    let names: Vec<&str> = file.tensors().iter().map(|info| info.name.as_str()).collect();
    assert!(names.contains(&"transformer.resblocks.0.mlp.c_fc.bias"), "{names:?}");
}

#[test]
fn f16_is_rounded_and_never_clamped() {
    let mut bench = Bench::new();
    let fp16 = SourceOptions { precision: Some(Precision::F16), ..bench.options() };
    let settings = OnnxSettings::default();
    let report = export(&bench, "onnx-transformers", fp16.clone(), settings.clone(), "out/half").unwrap();
    assert!(report.folder.join("onnx/vision_model_fp16.onnx").is_file());
    bench.find("visual.proj").1[..4].copy_from_slice(&1e5f32.to_le_bytes());
    let error = export(&bench, "onnx", fp16, settings.clone(), "out/overflow").unwrap_err();
    assert!(error.to_string().contains("`visual.proj`"), "{error}");
    assert!(!bench.path("out/overflow").exists());
    let bf16 = SourceOptions { precision: Some(Precision::BF16), ..bench.options() };
    let error = export(&bench, "onnx", bf16, settings.clone(), "out/bf16").unwrap_err();
    assert_eq!(error.code(), "inexpressible");
    assert!(error.to_string().contains("bf16"), "{error}");
}

#[test]
fn the_image_processor_is_chosen_by_its_steps() {
    let check = |more: &str, mode: &str, class: &str, size: &str, crops: bool| {
        let config = format!(
            r#"{{"model_cfg": {{{more} {}, "preprocess_cfg": {{"resize_mode": "{mode}"}}}}"#,
            CONFIG.strip_prefix('{').unwrap()
        );
        let bench = Bench::of(&config);
        let settings = OnnxSettings::default();
        let report = export(&bench, "onnx-transformers", bench.options(), settings, "out/class").unwrap();
        let text = fs::read_to_string(report.folder.join("preprocessor_config.json")).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["image_processor_type"], class, "{more} {mode}");
        assert_eq!(document["do_center_crop"], crops, "{more} {mode}");
        assert!(document["size"].get(size).is_some(), "{more} {mode}: {text}");
    };
    let biased = r#""init_logit_bias": -10,"#;
    check(biased, "shortest", "CLIPImageProcessor", "shortest_edge", true);
    check(biased, "squash", "SiglipImageProcessor", "height", false);
    check("", "shortest", "CLIPImageProcessor", "shortest_edge", true);
    check("", "squash", "CLIPImageProcessor", "height", false);
}
