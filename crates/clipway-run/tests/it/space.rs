//! Spaces of the emoji model and of models that differ from it in one thing each.

use std::path::Path;
use std::sync::Arc;

use clipway_formats::{Dtype, SafetensorsFile, TensorInfo};
use clipway_model::config::{Interpolation, PreprocessOptions, ResizeMode};
use clipway_model::export::Export;
use clipway_model::plan::{Integers, Precision, Towers};
use clipway_model::quantize::candidates;
use clipway_model::source::{ModelChoice, Source, SourceOptions};
use clipway_model::state_dict::StateDict;
use clipway_run::clip::Clip;
use clipway_run::engine::Compute;
use clipway_run::load::LoadOptions;
use clipway_run::space::{Identity, Probing, Space, Verdict};

use crate::emoji::example;
use crate::made::{write, write_options};

fn options() -> SourceOptions {
    SourceOptions {
        model: Some(ModelChoice::File(example().join("emoji-clip.json"))),
        ..SourceOptions::default()
    }
}

fn source(options: &SourceOptions) -> Source {
    Source::resolve(example().join("emoji-clip.pt"), options).unwrap()
}

fn loaded(source: &Source, load: &LoadOptions) -> (Identity, Clip) {
    let clip = Clip::load(source, load).unwrap();
    (Identity::of(source, &clip, load).unwrap(), clip)
}

fn space(source: &Source, load: &LoadOptions) -> Space {
    let (identity, clip) = loaded(source, load);
    identity.space(&clip, Probing::Whole).unwrap()
}

/// The model itself, as its checkpoint has it.
fn base() -> Space {
    space(&source(&options()), &LoadOptions::default())
}

/// Compares the model with a changed one in both directions.
#[track_caller]
fn check(changed: &Space, verdict: Verdict, difference: &str) -> f64 {
    let base = base();
    let found = base.compare(changed);
    assert_eq!(found.verdict, verdict, "{found}");
    assert_eq!(changed.compare(&base).verdict, verdict, "{found}");
    assert!(found.differences.iter().any(|text| text.contains(difference)), "{found}");
    assert_ne!(base.fingerprint, changed.fingerprint, "{found}");
    let worst = [found.images, found.texts].into_iter().flatten().map(|probes| probes.worst);
    worst.reduce(f64::min).unwrap_or(f64::NAN)
}

/// The model with other weights: each value of the tensors whose name `is_changed` times `1 + share · noise`.
fn changed_weights(folder: &Path, share: f32, is_changed: impl Fn(&str) -> bool) -> Source {
    let exported = folder.join("exported");
    if !exported.exists() {
        let whole = source(&options());
        Export::prepare(&whole, Default::default()).unwrap().write(&exported, &write_options()).unwrap();
    }
    let bytes = std::fs::read(exported.join("open_clip_model.safetensors")).unwrap();
    let weights = StateDict::of_file(Arc::new(SafetensorsFile::open(Arc::new(bytes)).unwrap()));
    let tensors: Vec<TensorInfo> = weights.tensors().to_vec();
    let path = folder.join("changed.safetensors");
    write(&path, &tensors, |info| {
        let index = weights.find(&info.name).unwrap();
        let mut bytes = Vec::new();
        weights.read_bytes(index, &mut bytes).unwrap();
        if info.dtype != Dtype::F32 || !is_changed(&info.name) {
            return bytes;
        }
        let values = bytes.as_chunks::<4>().0.iter().enumerate().map(|(at, value)| {
            let noise = ((at * 7919 + 13) % 1009) as f32 / 504.0 - 1.0;
            f32::from_le_bytes(*value) * (1.0 + share * noise)
        });
        values.flat_map(f32::to_le_bytes).collect()
    });
    Source::resolve(&path, &options()).unwrap()
}

#[test]
fn an_export_has_the_space_of_its_source_and_says_so_without_reading_weights() {
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("exported");
    let whole = source(&options());
    Export::prepare(&whole, Default::default()).unwrap().write(&target, &write_options()).unwrap();
    let exported = Source::resolve(&target, &SourceOptions::default()).unwrap();
    let base = base();
    let (identity, clip) = loaded(&exported, &LoadOptions::default());
    assert_eq!(identity.fingerprint(), base.fingerprint);
    let (found, agreement) = base.check(identity, &clip).unwrap();
    assert_eq!(agreement.verdict, Verdict::Same);
    assert_eq!(agreement.images.unwrap().count, 1, "one image is enough");
    assert_eq!(found.image.unwrap().tower, base.image.as_ref().unwrap().tower);
    assert_eq!(agreement.differences, [""; 0]);

    // A tower alone answers for itself.
    let load = LoadOptions { towers: Some(Towers::Text), ..LoadOptions::default() };
    let (identity, clip) = loaded(&exported, &load);
    let (found, agreement) = base.check(identity, &clip).unwrap();
    assert_eq!((agreement.verdict, agreement.images), (Verdict::Same, None));
    assert!(found.image.unwrap().probes.is_empty());
    let load = LoadOptions { towers: Some(Towers::Image), ..LoadOptions::default() };
    assert_eq!(loaded(&exported, &load).0.fingerprint(), base.fingerprint);

    // Weights that were exchanged under a `clipway.json` are found by running them.
    let weights = target.join("open_clip_model.safetensors");
    changed_weights(place.path(), 0.5, |name| name.starts_with("visual.transformer"));
    std::fs::copy(place.path().join("changed.safetensors"), &weights).unwrap();
    let exchanged = Source::resolve(&target, &SourceOptions::default()).unwrap();
    let (identity, clip) = loaded(&exchanged, &LoadOptions::default());
    let (_, agreement) = base.check(identity, &clip).unwrap();
    assert_eq!(agreement.verdict, Verdict::Other);
    assert!(agreement.to_string().contains("not those that `clipway.json` states"), "{agreement}");
}

#[test]
fn a_copy_at_another_precision_is_a_twin() {
    for precision in [Precision::F16, Precision::BF16] {
        let rounded = source(&SourceOptions { precision: Some(precision), ..options() });
        let worst = check(&space(&rounded, &LoadOptions::default()), Verdict::Twin, "precision: f32 against");
        println!("{}: worst cosine {worst}", precision.name());
    }
    let whole = source(&options());
    for compute in [Compute::Bf16, Compute::Int8] {
        let load = LoadOptions { compute, ..LoadOptions::default() };
        let worst = check(&space(&whole, &load), Verdict::Twin, "precision: f32 against");
        println!("compute {}: worst cosine {worst}", compute.name());
    }
    for integers in [Integers::Int8, Integers::Int4] {
        let chosen = candidates(whole.model(), Towers::Both).into_iter().map(|one| (one.name, integers));
        let chosen = Some(Arc::new(chosen.collect()));
        let load = LoadOptions { quantized: chosen, ..LoadOptions::default() };
        let expected = format!("precision: f32 against {integers}");
        let worst = check(&space(&whole, &load), Verdict::Twin, &expected);
        println!("{integers}: worst cosine {worst}");
    }
}

#[test]
fn other_weights_are_another_space() {
    let place = tempfile::tempdir().unwrap();
    // Nearer than an int8 copy, but nothing was rounded: a model that was trained further.
    for share in [0.3, 0.1, 0.03] {
        let changed = changed_weights(place.path(), share, |_| true);
        let worst = check(&space(&changed, &LoadOptions::default()), Verdict::Other, "the weights");
        println!("noise of {share}: worst cosine {worst}");
    }
    let changed = changed_weights(place.path(), 0.5, |name| name == "text_projection");
    let changed = space(&changed, &LoadOptions::default());
    check(&changed, Verdict::Other, "the weights");
    let base = base();
    assert_eq!(changed.image.as_ref().unwrap().tower, base.image.as_ref().unwrap().tower);
    assert_ne!(changed.text.as_ref().unwrap().tower, base.text.as_ref().unwrap().tower);
}

#[test]
fn each_rule_of_images_is_part_of_the_space() {
    let with = |preprocess: PreprocessOptions| {
        space(&source(&SourceOptions { preprocess, ..options() }), &LoadOptions::default())
    };
    let default = PreprocessOptions::default;
    let mean = with(PreprocessOptions { mean: Some([0.48145466, 0.4578275, 0.4]), ..default() });
    let worst = check(&mean, Verdict::Other, "mean: [0.48145");
    println!("a mean that differs by 0.008: worst cosine {worst}");
    let std = with(PreprocessOptions { std: Some([0.26862954, 0.26130258, 0.27]), ..default() });
    check(&std, Verdict::Other, "standard deviation");
    let bilinear = with(PreprocessOptions { interpolation: Some(Interpolation::Bilinear), ..default() });
    check(&bilinear, Verdict::Other, "interpolation: bicubic against bilinear");
    let squash = with(PreprocessOptions { resize_mode: Some(ResizeMode::Squash), ..default() });
    check(&squash, Verdict::Other, "resize mode: shortest against squash");
    // What is bicubic in evaluation, and a padding where nothing is padded, change nothing.
    let random = with(PreprocessOptions {
        interpolation: Some(Interpolation::Random),
        fill_color: Some(7),
        ..default()
    });
    assert_eq!(random.fingerprint, base().fingerprint);
    let larger = source(&SourceOptions { image_size: Some([64, 64]), ..options() });
    check(&space(&larger, &LoadOptions::default()), Verdict::Other, "image size: 48x48 against 64x64");
}

#[test]
fn each_rule_of_texts_is_part_of_the_space() {
    let place = tempfile::tempdir().unwrap();
    let config = place.path().join("config.json");
    let text = std::fs::read_to_string(example().join("emoji-clip.json")).unwrap();
    for clean in ["whitespace", "canonicalize"] {
        let rule = format!("\"tokenizer_kwargs\": {{\"clean\": \"{clean}\"}}, \"context_length\": 16");
        std::fs::write(&config, text.replace("\"context_length\": 16", &rule)).unwrap();
        let options = SourceOptions { model: Some(ModelChoice::File(config.clone())), ..options() };
        check(&space(&source(&options), &LoadOptions::default()), Verdict::Other, clean);
    }
    let shorter = source(&SourceOptions { context_length: Some(12), ..options() });
    check(&space(&shorter, &LoadOptions::default()), Verdict::Other, "context length: 16 against 12");
}

#[test]
fn a_space_is_small_and_comes_back_from_json() {
    let base = base();
    let text = serde_json::to_string(&base).unwrap();
    println!("{} bytes for {} values a feature", text.len(), base.width);
    assert!(text.len() < 56 * base.width + 2048, "{} bytes", text.len());
    let again: Space = serde_json::from_str(&text).unwrap();
    assert_eq!(again, base);
    let torn = text.replacen("\"probes\":[\"", "\"probes\":[\"0000", 1);
    let torn: Space = serde_json::from_str(&torn).unwrap();
    assert_eq!(base.compare(&torn).verdict, Verdict::Other, "a feature of another width");
}

#[test]
fn towers_of_two_models_have_nothing_to_compare() {
    let tower = |tower| source(&SourceOptions { tower: Some(tower), ..options() });
    let [image, text] =
        [Towers::Image, Towers::Text].map(|kind| space(&tower(kind), &LoadOptions::default()));
    let found = image.compare(&text);
    assert_eq!(found.verdict, Verdict::Other);
    assert!(found.to_string().contains("no tower in common"), "{found}");
    // A tower alone has another fingerprint than the whole model, and running it shows the same features.
    assert_eq!(base().compare(&image).verdict, Verdict::Same);
}
