//! transformers folders whose files contradict each other: one error lists every contradiction, and nothing is written.

use std::fs;

use serde_json::{Value, json};

use crate::scene::{Outcome, Scene};

/// Creates a scene with the demo model as a transformers folder, `hf`, without `clipway.json`.
fn scene() -> Scene {
    let scene = Scene::new();
    let options = ["--to", "transformers", "--out", "hf", "--no-verify", "--quiet"];
    scene.run(&[&["export", "EXPORTED"], &options[..]].concat()).ended(0);
    fs::remove_file(scene.path("hf/clipway.json")).expect("an artifact");
    scene
}

/// Changes a JSON file of the folder.
fn edit(scene: &Scene, name: &str, change: impl FnOnce(&mut Value)) {
    let path = scene.path("hf").join(name);
    let text = fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut value = serde_json::from_slice(&text).expect("JSON");
    change(&mut value);
    fs::write(path, value.to_string()).expect("a file");
}

/// Adds a token beyond the rows of the embedding.
fn add_token(file: &mut Value) {
    let token = json!({"id": 49_408, "content": "<far>", "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true});
    file["added_tokens"].as_array_mut().expect("added tokens").push(token);
}

/// Writes a newer processor file next to `preprocessor_config.json`, with other means and this side.
fn add_processor(scene: &Scene, side: usize) {
    let processor = json!({"image_processor": {"image_processor_type": "CLIPImageProcessor", "image_mean": [0.1, 0.2, 0.3],
        "size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}});
    scene.write("hf/processor_config.json", processor.to_string());
}

/// Runs an export that must be refused with all of these parts in one message, and writes nothing.
#[track_caller]
fn check_refused(scene: &Scene, expected: &[&str]) -> Outcome {
    let before = scene.listing();
    let outcome = scene.run(&["export", "hf", "--out", "out"]).ended(1);
    for part in expected {
        assert!(outcome.stderr.contains(part), "`{part}` in {}", outcome.stderr);
    }
    assert_eq!(outcome.stderr.matches("error: ").count(), 1, "{}", outcome.stderr);
    assert_eq!(scene.listing(), before);
    outcome
}

#[test]
fn two_processors_that_disagree_are_noted_and_the_newer_one_is_taken() {
    let scene = scene();
    add_processor(&scene, 48);
    let outcome = scene.run(&["export", "hf", "--out", "out", "--no-verify"]).ended(0);
    let note = "`processor_config.json` is used, as in transformers 5, instead of `preprocessor_config.json`";
    assert!(outcome.stdout.contains(note) && outcome.stdout.contains("0.1, 0.2, 0.3"), "{}", outcome.stdout);
}

#[test]
fn a_tokenizer_that_does_not_fit_is_refused_with_the_other_contradictions() {
    let scene = scene();
    edit(&scene, "tokenizer.json", add_token);
    let rows = "it has ids up to 49408, but the token embedding has only 49408 rows";
    let outcome = check_refused(&scene, &["the tokenizer does not fit the model", rows]);
    assert!(!outcome.stderr.contains("processor"), "{}", outcome.stderr);
    add_processor(&scene, 48);
    check_refused(&scene, &[rows, "`preprocessor_config.json`: `image_mean`"]);
}

#[test]
fn an_end_token_that_the_pooling_does_not_find_is_refused() {
    let scene = scene();
    edit(&scene, "config.json", |config| config["text_config"]["eos_token_id"] = json!(7));
    check_refused(&scene, &["uses the first token 7, but the tokenizer ends texts with token 49407"]);
}

#[test]
fn files_of_two_models_are_one_error() {
    let scene = scene();
    edit(&scene, "config.json", |config| config["vision_config"]["image_size"] = json!(64));
    edit(&scene, "tokenizer.json", add_token);
    add_processor(&scene, 32);
    check_refused(
        &scene,
        &[
            "`config.json` does not match",
            "`$.vision_config.image_size`: 64x64",
            "`processor_config.json` does not match",
            "images become [32, 32]",
            "`preprocessor_config.json` does not match",
            "but `processor_config.json` says",
            "`tokenizer.json` does not match",
            "ids up to 49408",
        ],
    );
    // The image tower alone needs no tokenizer.
    let outcome = scene.run(&["export", "hf", "--tower", "image", "--out", "out"]).ended(1);
    assert!(!outcome.stderr.contains("tokenizer.json"), "{}", outcome.stderr);
}

#[test]
fn a_folder_without_a_tokenizer_is_asked_for_one() {
    let scene = scene();
    let words =
        ["tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json"];
    fs::create_dir(scene.path("words")).expect("a folder");
    for name in words.into_iter().filter(|name| scene.path("hf").join(name).exists()) {
        fs::rename(scene.path("hf").join(name), scene.path("words").join(name)).expect("a file");
    }
    assert!(scene.path("words/tokenizer.json").exists());
    let features = |arguments: &[&str]| {
        scene.run(&[&["embed", "hf", "--text", "a lion"], arguments].concat()).ended(0).json()
    };
    // These are CLIP's own rows and end token, so the built-in tokenizer fits.
    assert_eq!(features(&[])[0]["features"], features(&["--tokenizer", "words"])[0]["features"]);
    // With another end token, no known tokenizer fits.
    edit(&scene, "config.json", |config| config["text_config"]["eos_token_id"] = json!(7));
    let expected = ["[missing-tokenizer]", "49408 rows", "`--tokenizer DIR`", "`--tower image`"];
    check_refused(&scene, &expected);
    let image = ["--tower", "image", "--out", "out", "--no-verify"];
    scene.run(&[&["export", "hf"], &image[..]].concat()).ended(0);
}
