//! Evidence about the activation, from a trained model and from untrained ones.

use std::fs;
use std::path::Path;

use clipway_formats::TensorInfo;
use clipway_model::checkpoint::Checkpoint;
use clipway_model::source::{ModelChoice, Source, SourceOptions};
use clipway_run::activation::{ActivationEvidence, Clarity, Weighed, weigh_activations};
use clipway_run::engine::Processor;
use clipway_run::load::LoadOptions;
use clipway_testing::formula;

use crate::emoji::example;
use crate::made::{self, tensors_of};

fn weighed(source: &Path, config: &Path) -> Weighed {
    let checkpoint = Checkpoint::open(source).unwrap();
    let model = Some(ModelChoice::File(config.to_owned()));
    let prepared = Source::of(checkpoint, &SourceOptions { model, ..SourceOptions::default() }).unwrap();
    weigh_activations(&prepared, &LoadOptions::new(Processor::with_threads(2).unwrap())).unwrap()
}

fn evidence(source: &Path, config: &Path) -> ActivationEvidence {
    match weighed(source, config) {
        Weighed::Evidence(evidence) => evidence,
        Weighed::Nothing { why } => panic!("{why}"),
    }
}

/// The losses match open_clip's on the same images and texts.
#[test]
fn the_emoji_model_is_weighed_as_open_clip_would() {
    let found = evidence(&example().join("emoji-clip.pt"), &example().join("emoji-clip.json"));
    assert_eq!((found.pairs, found.taken, found.better), (200, "GELU", "GELU"));
    let near = |found: f64, expected: f64| (found - expected).abs() < 2e-4;
    assert!(near(found.taken_loss, 0.6061) && near(found.other_loss, 0.6116), "{found:?}");
    assert!(near(found.standard_error, 0.004_35), "{found:?}");
    // It was trained with GELU and matches the pairs, but the difference is small, and the report says only that.
    assert!(found.matches && found.taken_rank < 0.01);
    assert_eq!(found.clarity, Clarity::None);
    assert!(found.summary().contains("the difference is too small to decide"), "{}", found.summary());
}

#[test]
fn of_models_that_were_never_trained_nothing_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(example().join("emoji-clip.json")).unwrap();
    let tensors = tensors_of(&text);
    let mut furthest: f64 = 0.0;
    for seed in 0..4 {
        // Roughly how weights look before training: norms do nothing, biases are zero.
        let bytes_of = |TensorInfo { name, shape, .. }: &TensorInfo| {
            let mut values = Vec::new();
            formula::fill(&format!("{seed}.{name}"), shape, &mut values);
            for value in &mut values {
                match (name.as_str(), shape.len()) {
                    ("logit_scale", _) => *value = 2.659,
                    (name, 1) if name.ends_with("weight") => *value = 1.0,
                    (name, 1) if name.ends_with("bias") => *value = 0.0,
                    _ => *value *= 0.3,
                }
            }
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        };
        let source = folder.path().join(format!("{seed}.safetensors"));
        made::write(&source, &tensors, bytes_of);
        let found = evidence(&source, &example().join("emoji-clip.json"));
        assert_eq!((found.matches, found.clarity), (false, Clarity::None), "{found:?}");
        assert!(found.summary().contains("better than chance, so nothing is decided"));
        furthest = furthest.max((found.other_loss - found.taken_loss).abs() / found.standard_error);
    }
    // Going by the losses alone, one of them would have been decided.
    assert!(furthest > 3.0, "{furthest}");
}

/// The tokenizer's ids do not fit the model's vocabulary, so nothing is run on made-up ids.
#[test]
fn a_vocabulary_smaller_than_the_tokenizer_s_is_not_weighed() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{"embed_dim": 8, "vision_cfg": {"image_size": 8, "layers": 1, "width": 64, "patch_size": 4},
        "text_cfg": {"context_length": 16, "vocab_size": 50, "width": 64, "heads": 1, "layers": 1}}"#;
    let config = folder.path().join("small.json");
    fs::write(&config, text).unwrap();
    let source = folder.path().join("small.safetensors");
    made::write(&source, &tensors_of(text), |info| vec![0; info.bytes()]);
    let Weighed::Nothing { why } = weighed(&source, &config) else { panic!("it was weighed") };
    assert_eq!(why, "the tokenizer produces ids up to 49407, but the model has only 50");
}
