//! The emoji model, a real trained one, against open_clip: tokens, features, best labels.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clipway_formats::SafetensorsFile;
use clipway_model::checkpoint::Checkpoint;
use clipway_model::export::Export;
use clipway_model::plan::{Precision, Towers};
use clipway_model::source::{ModelChoice, Source, SourceOptions};
use clipway_model::state_dict::StateDict;
use clipway_run::DEFAULT_TEMPLATE;
use clipway_run::clip::Clip;
use clipway_run::engine::{InstructionSet, Processor};
use clipway_run::image::{DecodeLimits, preprocess};
use clipway_run::load::LoadOptions;
use clipway_run::verify::cosine;
use clipway_run::zero_shot::{Classifier, fill_template};
use serde_json::Value;

use crate::made::write_options;

/// Returns the model in the repository, with a few images.
pub fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/emoji-clip")
}

/// Returns the whole model with all of its images, outside the repository.
fn shared() -> Option<PathBuf> {
    let root = std::env::var_os("CLIPWAY_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let folder = root.join("emoji-clip");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {} is not there", folder.display());
    None
}

fn load(source: &Path, model: Option<&Path>, processor: Processor) -> Clip {
    let options = SourceOptions {
        model: model.map(|path| ModelChoice::File(path.to_owned())),
        ..SourceOptions::default()
    };
    Clip::open_with(source, &options, &LoadOptions::new(processor)).unwrap()
}

/// What open_clip computed.
pub struct Expected {
    tensors: StateDict,
    document: Value,
    pub labels: Vec<String>,
}

impl Expected {
    pub fn read(folder: &Path) -> Expected {
        let bytes = std::fs::read(folder.join("expected.safetensors")).unwrap();
        let tensors = StateDict::of_file(Arc::new(SafetensorsFile::open(Arc::new(bytes)).unwrap()));
        let document: Value =
            serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
        let labels = std::fs::read_to_string(example().join("labels.txt")).unwrap();
        Expected { tensors, document, labels: labels.lines().map(str::to_owned).collect() }
    }

    pub fn values(&self, name: &str) -> Vec<f32> {
        let mut values = Vec::new();
        self.tensors.read_f32(self.tensors.find(name).unwrap(), &mut values).unwrap();
        values
    }

    pub fn strings(&self, key: &str) -> Vec<String> {
        self.document[key].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
    }

    /// Returns file, best label and its probability for each image, for either form of the document.
    pub fn images(&self) -> Vec<(String, String, f64)> {
        let images = self.document["pictures"].as_array().unwrap();
        let beside = |key: &str, at: usize| self.document.get(key).map(|all| all[at].clone());
        let one = |(at, image): (usize, &Value)| {
            let of = |key: &str| image.get(key).cloned().or_else(|| beside(key, at)).unwrap();
            let text = |key: &str| of(key).as_str().unwrap().to_owned();
            (text("file"), text("top1"), of("top1_probability").as_f64().unwrap())
        };
        images.iter().enumerate().map(one).collect()
    }
}

/// Compares a loaded model with open_clip's outputs in `folder`.
fn check(clip: &Clip, folder: &Path, least_cosine: f64, probability: f64) {
    let expected = Expected::read(folder);
    let templates = expected.strings("templates");
    let width = clip.embed_dim();

    // The file has `[templates, labels, context]`.
    let mut texts = Vec::new();
    for template in &templates {
        texts.extend(expected.labels.iter().map(|label| fill_template(template, label).unwrap()));
    }
    let mut ids = Vec::new();
    let index = expected.tensors.find("tokens").unwrap();
    expected.tensors.read_bytes(index, &mut ids).unwrap();
    let ids: Vec<i64> = ids.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect();
    let encoded = clip.tokens(&texts).unwrap();
    assert_eq!(encoded.ids, ids, "tokens");

    let features = clip.encode_tokens(&encoded.ids).unwrap();
    let theirs = expected.values("text_features");
    let rows = features.chunks_exact(width).zip(theirs.chunks_exact(width));
    let worst = rows.map(|(ours, theirs)| cosine(ours, theirs)).fold(1.0, f64::min);
    assert!(worst >= least_cosine, "text features: cosine {worst}");

    let mut by_label = Vec::new();
    for label in 0..expected.labels.len() {
        for template in 0..templates.len() {
            let row = template * expected.labels.len() + label;
            by_label.extend_from_slice(&features[row * width..(row + 1) * width]);
        }
    }
    let classifier =
        Classifier::new(&by_label, templates.len(), width, clip.logit_scale(), clip.logit_bias());
    let theirs = expected.values("image_features");
    let images = expected.images();
    assert_eq!(theirs.len(), images.len() * width);
    for ((file, label, likely), theirs) in images.iter().zip(theirs.chunks_exact(width)) {
        let bytes = std::fs::read(folder.join("pictures").join(file)).unwrap();
        let mut pixels = vec![0.0; clip.pixel_values()];
        preprocess(&bytes, clip.preprocess(), &DecodeLimits::default(), &mut pixels).unwrap();
        let ours = clip.encode_pixels(&pixels).unwrap();
        let found = cosine(&ours, theirs);
        assert!(found >= least_cosine, "{file}: cosine {found}");
        let best = classifier.scores(&ours)[0];
        assert_eq!(&expected.labels[best.label], label, "{file}");
        let difference = (f64::from(best.probability) - likely).abs();
        assert!(difference < probability, "{file}: probability {} against {likely}", best.probability);
    }
}

#[test]
fn the_example_agrees_with_open_clip_on_every_instruction_set() {
    let folder = example();
    for set in InstructionSet::available() {
        let processor = Processor::new(set, 2).unwrap();
        let clip = load(&folder.join("emoji-clip.pt"), Some(&folder.join("emoji-clip.json")), processor);
        check(&clip, &folder, 0.999_999, 1e-4);
    }
}

#[test]
fn exports_agree_with_open_clip_on_all_images_and_texts() {
    let Some(folder) = shared() else { return };
    let checkpoint = Arc::new(Checkpoint::open(folder.join("epoch_10.pt")).unwrap());
    let place = tempfile::tempdir().unwrap();
    for (precision, least_cosine, probability) in
        [(Precision::F32, 0.999_999, 1e-4), (Precision::F16, 0.9999, 2e-2)]
    {
        let options = SourceOptions {
            model: Some(ModelChoice::File(folder.join("emoji-clip.json"))),
            precision: Some(precision),
            ..SourceOptions::default()
        };
        let target = place.path().join(precision.name());
        let source = Source::of(Arc::clone(&checkpoint), &options).unwrap();
        Export::prepare(&source, Default::default()).unwrap().write(&target, &write_options()).unwrap();
        let clip = load(&target, None, Processor::with_threads(2).unwrap());
        check(&clip, &folder, least_cosine, probability);
    }
}

#[test]
fn a_folder_opens_in_one_call_and_gives_what_open_clip_gives() {
    let folder = example();
    let place = tempfile::tempdir().unwrap();
    let options = SourceOptions {
        model: Some(ModelChoice::File(folder.join("emoji-clip.json"))),
        ..SourceOptions::default()
    };
    let source = Source::resolve(folder.join("emoji-clip.pt"), &options).unwrap();
    let target = place.path().join("exported");
    Export::prepare(&source, Default::default()).unwrap().write(&target, &write_options()).unwrap();

    let clip = Clip::open(&target).unwrap();
    let expected = Expected::read(&folder);
    let (file, label, likely) = expected.images().swap_remove(0);
    let bytes = std::fs::read(folder.join("pictures").join(file)).unwrap();
    let image = clip.embed_image(&bytes).unwrap();
    let width = clip.embed_dim();
    assert!(cosine(&image, &expected.values("image_features")[..width]) > 0.999_999);
    let prompt = fill_template(&expected.strings("templates")[0], &expected.labels[0]).unwrap();
    let text = clip.embed_text(&prompt).unwrap();
    assert!(cosine(&text, &expected.values("text_features")[..width]) > 0.999_999);
    assert_eq!(clip.embed_images(&[&bytes, &bytes]).unwrap(), [&image[..], &image[..]].concat());

    let classifier = clip.classifier(&expected.labels, &expected.strings("templates")).unwrap();
    let best = classifier.scores(&image)[0];
    assert_eq!(expected.labels[best.label], label);
    assert!((f64::from(best.probability) - likely).abs() < 1e-4);
    let by_default = clip.classifier(&expected.labels, &[DEFAULT_TEMPLATE]).unwrap();
    assert_eq!(clip.classify(&bytes, &expected.labels).unwrap(), by_default.scores(&image));
    let error = clip.classifier(&["a"], &["no place"]).unwrap_err();
    assert_eq!(error.code(), "bad-option");
    let error = clip.embed_images(&[&bytes[..], b"no image"]).unwrap_err();
    assert!(error.to_string().starts_with("`image 1`: "), "{error}");
}

#[test]
fn a_folder_with_one_tower_opens_through_the_library() {
    let folder = example();
    let place = tempfile::tempdir().unwrap();
    for (tower, other) in [(Towers::Image, Towers::Text), (Towers::Text, Towers::Image)] {
        let options = SourceOptions {
            model: Some(ModelChoice::File(folder.join("emoji-clip.json"))),
            tower: Some(tower),
            ..SourceOptions::default()
        };
        let source = Source::resolve(folder.join("emoji-clip.pt"), &options).unwrap();
        let target = place.path().join(tower.name());
        Export::prepare(&source, Default::default()).unwrap().write(&target, &write_options()).unwrap();
        let clip = Clip::open(&target).unwrap();
        assert_eq!(
            [clip.has_image_tower(), clip.has_text_tower()],
            [tower == Towers::Image, tower == Towers::Text]
        );
        // The other tower is refused as such, not listed tensor by tensor.
        let wanted = SourceOptions { tower: Some(other), ..SourceOptions::default() };
        let error = Source::resolve(&target, &wanted).unwrap_err();
        let says = format!("has only the {} tower, not the {} tower", tower.name(), other.name());
        assert!(error.to_string().ends_with(&says), "{error}");
    }
}
