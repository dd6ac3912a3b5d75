//! `clipway export --vocabulary-from`: a text tower with the tokens of some texts.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use clipway_formats::{SafetensorsFile, TensorFile};
use serde_json::Value;

use crate::scene::{Outcome, Scene, exported};

const TEXTS: &str = "a photo of a dog\nan emoji of a smiling face\n\nthe sun & the moon, 3.5 times\nle château\n山の上の城 🐈\n";

const MODEL: [&str; 3] = ["EMOJI/emoji-clip.pt", "--model", "EMOJI/emoji-clip.json"];

fn trim(scene: &Scene, texts: &str, more: &[&str]) -> Outcome {
    scene.write("texts.txt", texts);
    let arguments = ["--vocabulary-from", "texts.txt", "--out", "out", "--json"];
    scene.run(&[&["export"], &MODEL[..], &arguments, more].concat())
}

fn refused(texts: &str, more: &[&str], status: i32, words: &[&str]) {
    let scene = Scene::new();
    let outcome = trim(&scene, texts, more).ended(status);
    for word in words {
        assert!(outcome.stdout.contains(word), "{word} is not in {}", outcome.stdout);
    }
    assert!(!scene.path("out").exists(), "nothing is written");
}

fn ids(folder: &Path) -> HashMap<String, usize> {
    let file: Value = serde_json::from_slice(&std::fs::read(folder.join("tokenizer.json")).unwrap()).unwrap();
    let vocabulary = file["model"]["vocab"].as_object().unwrap().iter();
    vocabulary.map(|(token, id)| (token.clone(), id.as_u64().unwrap() as usize)).collect()
}

fn embedding(folder: &Path) -> (usize, Vec<u8>) {
    let bytes = std::fs::read(folder.join("open_clip_model.safetensors")).expect("weights");
    let file = SafetensorsFile::open(Arc::new(bytes)).expect("a safetensors file");
    let index = file.tensors().iter().position(|info| info.name == "token_embedding.weight").unwrap();
    let mut bytes = Vec::new();
    file.read(index, &mut bytes).expect("a tensor");
    (bytes.len() / file.tensors()[index].shape[0], bytes)
}

#[test]
fn rows_are_chosen_and_texts_keep_their_features() {
    let scene = Scene::new();
    let report = trim(&scene, TEXTS, &[]).ended(0).json();
    let vocabulary = &report["contract"]["text"]["vocabulary"]["value"];
    let kept = vocabulary["kept"].as_u64().unwrap() as usize;
    assert!((512..700).contains(&kept), "the bytes, at the end of a word or not, and a few more: {kept}");
    assert_eq!((&vocabulary["of"], &vocabulary["texts"]), (&49408.into(), &5.into()));
    assert_eq!(vocabulary["hidden"], serde_json::json!({ "texts": 2, "otherwise": 2 }));
    let stages = report["verification"]["stages"].as_array().unwrap();
    for name in ["tokens", "text features"] {
        let stage = stages.iter().find(|stage| stage["name"] == name).unwrap();
        assert_eq!((&stage["worst"], &stage["tolerance"]["name"]), (&0.0.into(), &"exact".into()), "{name}");
    }
    let steps = &report["ledger"]["groups"];
    assert!(steps.as_array().unwrap().iter().any(|group| group["rule"] == "take rows"), "{steps}");

    // Each row is the one of the token that is spelled the same.
    let out = scene.path("out");
    let (before, after) = (ids(exported()), ids(&out));
    let ((width, whole), (same, rows)) = (embedding(exported()), embedding(&out));
    assert_eq!((width, after.len(), rows.len()), (same, kept, kept * width));
    for (token, id) in &after {
        assert_eq!(rows[id * width..][..width], whole[before[token] * width..][..width], "{token}");
    }
    assert_eq!(after["<|endoftext|>"], kept - 1, "pooling looks for the highest id");

    for text in TEXTS.lines().filter(|line| !line.is_empty()) {
        let features = |folder: &str| scene.run(&["embed", folder, "--text", text]).ended(0).json();
        assert_eq!(features("out")[0]["features"], features("EXPORTED")[0]["features"], "{text}");
    }
    let against = ["verify", "out", "--against", "EMOJI/emoji-clip.pt", "--model", "EMOJI/emoji-clip.json"];
    scene.run(&[&against[..], &["--texts", "texts.txt"]].concat()).ended(0);
    // Built-in texts that are written differently are left out and named.
    let outcome = scene.run(&against).ended(1);
    assert!(outcome.stdout.contains("the text tower was not run"), "{}", outcome.stdout);
    scene.write("more.txt", "a photo of a dog\na photo of a bicycle\n");
    let outcome = scene.run(&[&against[..], &["--texts", "more.txt"]].concat()).ended(0);
    let words = "1 of 2 texts are written with other tokens by the trimmed vocabulary, and were not compared: \
                 `a photo of a bicycle`";
    assert!(outcome.stdout.contains(words), "{}", outcome.stdout);
}

#[test]
fn a_trimmed_folder_is_a_source_like_any_other() {
    let scene = Scene::new();
    trim(&scene, TEXTS, &[]).ended(0);
    let again =
        scene.run(&["export", "out", "--precision", "fp16", "--out", "again", "--json"]).ended(0).json();
    let vocabulary = &again["contract"]["text"]["vocabulary"];
    assert_eq!(
        (&vocabulary["value"]["of"], &vocabulary["from"]["kind"]),
        (&49408.into(), &"artifact".into())
    );
    let fewer = ["export", "out", "--vocabulary-from", "few.txt", "--out", "fewer", "--json"];
    scene.write("few.txt", "a photo of a dog\n");
    let fewer = scene.run(&fewer).ended(0).json();
    let vocabulary = &fewer["contract"]["text"]["vocabulary"]["value"];
    let before = again["contract"]["text"]["vocabulary"]["value"]["kept"].as_u64();
    assert_eq!(vocabulary["of"].as_u64(), before);
    assert!(vocabulary["kept"].as_u64() < before);
}

#[test]
fn other_libraries_get_the_trimmed_tokenizer_too() {
    for target in ["transformers", "onnx", "clipway"] {
        let scene = Scene::new();
        let report = trim(&scene, TEXTS, &["--to", target]).ended(0).json();
        assert_eq!(report["verification"]["passed"], true, "{target}");
        let stages = report["verification"]["stages"].as_array().unwrap();
        let name = if target == "onnx" { "text features of the whole vocabulary" } else { "text features" };
        let stage = stages.iter().find(|stage| stage["name"] == name).expect(target);
        assert_eq!(stage["worst"], 0.0, "{target}");
        let against =
            ["verify", "out", "--against", "EMOJI/emoji-clip.pt", "--model", "EMOJI/emoji-clip.json"];
        scene.run(&[&against[..], &["--texts", "texts.txt"]].concat()).ended(0);
    }
}

#[test]
fn sums_and_int8_are_trimmed_too() {
    let scene = Scene::new();
    scene.write("texts.txt", TEXTS);
    let mix =
        ["mix", "EXPORTED:0.5", "EXPORTED:0.5", "--vocabulary-from", "texts.txt", "--out", "mixed", "--json"];
    let report = scene.run(&mix).ended(0).json();
    let rules: Vec<&Value> =
        report["ledger"]["groups"].as_array().unwrap().iter().map(|group| &group["rule"]).collect();
    assert_eq!(rules, ["mix", "mix, take rows"]);
    let (_, rows) = embedding(&scene.path("mixed"));
    trim(&scene, TEXTS, &[]).ended(0);
    assert_eq!(rows, embedding(&scene.path("out")).1, "half and half of the same is the same");
    let int8 = ["--to", "clipway", "--precision", "int8", "--force"];
    let report = trim(&scene, TEXTS, &int8).ended(0).json();
    assert_eq!(report["verification"]["passed"], true);
}

#[test]
fn what_cannot_be_trimmed_is_refused_with_its_reason() {
    refused(
        "\n  \n",
        &[],
        2,
        &["[vocabulary]", "no text has any characters"].map(|word| word.trim_matches(['[', ']'])),
    );
    refused(TEXTS, &["--tower", "image"], 2, &["only the image tower"]);
    refused("a dog\na <end_of_text> b\n", &[], 1, &["1 of 2 texts cannot be written", "`a <end_of_text> b`"]);
    let scene = Scene::new();
    scene.write("more.txt", "a photo of a dog\na photo of a bicycle\nan elephant\n");
    let outcome = trim(&scene, TEXTS, &["--texts", "more.txt"]).ended(1);
    let words =
        "the trimmed vocabulary writes 2 of 3 texts with other tokens: `a photo of a bicycle`, `an elephant`";
    assert!(outcome.stdout.contains(words), "{}", outcome.stdout);
    assert!(!scene.path("out").exists(), "nothing is written");
}

#[test]
fn the_output_may_not_contain_the_texts() {
    let scene = Scene::new();
    std::fs::create_dir(scene.path("out")).expect("a folder");
    scene.write("out/texts.txt", TEXTS);
    let arguments = ["--vocabulary-from", "out/texts.txt", "--out", "out", "--force"];
    scene.run(&[&["export"], &MODEL[..], &arguments].concat()).ended(2);
    assert!(scene.path("out/texts.txt").exists());
}
