//! `clipway mix`: sums of models, and towers put together.

use std::path::Path;
use std::sync::Arc;

use clipway_formats::{Dtype, SafetensorsFile, TensorFile, TensorInfo, write_safetensors};
use serde_json::Value;

use crate::scene::{Outcome, Scene, exported};

const WEIGHTS: &str = "open_clip_model.safetensors";

type Made = (TensorInfo, Vec<f32>);

/// The tensors of a folder.
fn tensors(folder: &Path) -> Vec<Made> {
    let bytes = std::fs::read(folder.join(WEIGHTS)).expect("weights");
    let file = SafetensorsFile::open(Arc::new(bytes)).expect("a safetensors file");
    let read = |(index, info): (usize, &TensorInfo)| {
        let mut bytes = Vec::new();
        file.read(index, &mut bytes).expect("a tensor");
        assert_eq!(info.dtype, Dtype::F32);
        (info.clone(), bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    };
    file.tensors().iter().enumerate().map(read).collect()
}

/// The demo model in an open_clip folder `name`, with its tensors and its config changed.
fn variation(scene: &Scene, name: &str, config: &[(&str, &str)], change: impl Fn(&mut Made)) {
    scene.copy_exported(name);
    std::fs::remove_file(scene.path(name).join("clipway.json")).expect("an artifact");
    let mut made = tensors(exported());
    made.iter_mut().for_each(change);
    let infos: Vec<TensorInfo> = made.iter().map(|(info, _)| info.clone()).collect();
    let mut out = std::io::Cursor::new(Vec::new());
    let bytes = |index: usize| -> Vec<u8> { made[index].1.iter().flat_map(|v| v.to_le_bytes()).collect() };
    write_safetensors(&mut out, &infos, &[], |index| Ok(bytes(index))).expect("a file in memory");
    scene.write(&format!("{name}/{WEIGHTS}"), out.into_inner());
    let path = scene.path(name).join("open_clip_config.json");
    let mut text = std::fs::read_to_string(&path).expect("a config");
    for (old, new) in config {
        assert!(text.contains(old), "{old} is not in {text}");
        text = text.replace(old, new);
    }
    std::fs::write(path, text).expect("a config");
}

fn noisy((info, values): &mut Made) {
    let seed = info.name.len();
    for (index, value) in values.iter_mut().enumerate() {
        *value += ((index * 7 + seed) as f32 * 0.37).sin() * 0.01;
    }
}

fn refused(scene: &Scene, arguments: &[&str], status: i32, code: &str) -> Outcome {
    let outcome = scene.run(&[&["mix", "--out", "out"], arguments].concat()).ended(status);
    assert!(outcome.stderr.contains(&format!("[{code}]")), "{}", outcome.stderr);
    assert!(!scene.path("out").exists(), "nothing is written");
    outcome
}

#[test]
fn a_mix_is_the_sum_in_f64_rounded_once() {
    let scene = Scene::new();
    variation(&scene, "a", &[], |_| {});
    variation(&scene, "b", &[], noisy);
    let report = scene.run(&["mix", "a:0.7", "b:0.3", "--out", "out", "--json"]).ended(0).json();
    let [a, b, mixed] = ["a", "b", "out"].map(|name| tensors(&scene.path(name)));
    let mut changed = 0;
    for (info, values) in &mixed {
        let of = |made: &[Made]| made.iter().find(|(other, _)| other.name == info.name).unwrap().1.clone();
        let expected = of(&a).into_iter().zip(of(&b));
        let expected = expected.map(|(a, b)| (0.7 * f64::from(a) + 0.3 * f64::from(b)) as f32);
        let bits = |values: &mut dyn Iterator<Item = f32>| values.map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(&mut values.iter().copied()), bits(&mut { expected }), "{}", info.name);
        changed += usize::from(*values != of(&a));
    }
    assert_eq!((mixed.len(), changed), (a.len(), a.len()));
    assert_eq!(report["verification"]["passed"], true);
    let group = &report["ledger"]["groups"][0];
    assert_eq!((&group["rule"], &group["tensors"]), (&"mix".into(), &(2 * a.len()).into()));
    let artifact: Value =
        serde_json::from_slice(&std::fs::read(scene.path("out/clipway.json")).unwrap()).unwrap();
    assert_eq!(artifact["source"]["parts"][1], serde_json::json!({"name": "b", "share": 0.3}));
    let files: Vec<&String> = artifact["source"]["files"].as_object().unwrap().keys().collect();
    assert_eq!(files, [&format!("1/{WEIGHTS}"), &format!("2/{WEIGHTS}")]);
    let steps = &artifact["plan"]["changed"]["visual.proj"];
    assert_eq!(steps["from"], serde_json::json!(["1/visual.proj", "2/visual.proj"]));
    assert_eq!(steps["steps"], serde_json::json!(["mix(0.7 + 0.3 to F32)"]));
    // The folder is a source like any other.
    scene.run(&["verify", "out", "--hashes-only"]).ended(0);
}

#[test]
fn unlike_sources_are_refused_with_each_difference() {
    let scene = Scene::new();
    variation(&scene, "a", &[], |_| {});
    let mean = "0.48145466";
    variation(&scene, "b", &[(mean, "0.25"), ("\"quick_gelu\": false", "\"quick_gelu\": true")], noisy);
    let outcome = refused(&scene, &["a", "b"], 1, "unlike");
    for line in ["mean: 0.48145466", "activation: GELU in source 1, QuickGELU in source 2"] {
        assert!(outcome.stderr.contains(line), "{line} is not in {}", outcome.stderr);
    }
}

#[test]
fn shares_must_be_those_of_a_mean() {
    let scene = Scene::new();
    variation(&scene, "a", &[], |_| {});
    refused(&scene, &["a:0.7", "a:0.4"], 2, "bad-option");
    refused(&scene, &["a:1", "a:0"], 2, "bad-option");
    refused(&scene, &["a:1", "a:NaN"], 2, "bad-option");
    refused(&scene, &["a:0.5", "a"], 2, "bad-option");
    refused(&scene, &["a"], 2, "bad-option");
}

#[test]
fn nan_is_not_mixed() {
    let scene = Scene::new();
    variation(&scene, "a", &[], |_| {});
    variation(&scene, "b", &[], |(info, values)| {
        if info.name == "visual.proj" {
            values[5] = f32::NAN;
        }
    });
    let outcome = refused(&scene, &["a", "b"], 1, "bad-value");
    assert!(outcome.stderr.contains("2/visual.proj"), "{}", outcome.stderr);
}

#[test]
fn towers_of_two_sources_keep_their_features() {
    let scene = Scene::new();
    variation(&scene, "a", &[("0.48145466", "0.25")], |_| {});
    variation(&scene, "b", &[], noisy);
    let pair = ["--image-from", "a", "--text-from", "b", "--logit-scale-from", "text"];
    let report = scene.run(&[&["mix", "--out", "out", "--json"], &pair[..]].concat()).ended(0).json();
    assert_eq!(report["contract"]["image"]["mean"]["value"][0], 0.25);
    let scale = |name: &str| {
        let found = tensors(&scene.path(name));
        found.into_iter().find(|(info, _)| info.name == "logit_scale").unwrap().1
    };
    assert_eq!(scale("out"), scale("b"));
    assert_ne!(scale("out"), scale("a"));
    let features = |folder: &str, input: &[&str]| {
        let found = scene.run(&[&["embed", folder], input].concat()).ended(0).json();
        found[0]["features"].clone()
    };
    let image = ["EMOJI/pictures/lion.png"];
    let text = ["--text", "a lion"];
    assert_eq!(features("out", &image), features("a", &image));
    assert_ne!(features("out", &image), features("b", &image));
    assert_eq!(features("out", &text), features("b", &text));
    assert_ne!(features("out", &text), features("a", &text));
}

#[test]
fn towers_of_different_widths_are_refused() {
    let scene = Scene::new();
    variation(&scene, "a", &[], |_| {});
    variation(&scene, "b", &[("\"embed_dim\": 128", "\"embed_dim\": 64")], |(info, values)| {
        if ["visual.proj", "text_projection"].contains(&info.name.as_str()) {
            *values = values.chunks(128).flat_map(|row| row[..64].to_vec()).collect();
            info.shape[1] = 64;
        }
    });
    let pair = ["--image-from", "a", "--text-from", "b", "--logit-scale-from", "image"];
    let outcome = refused(&scene, &pair, 1, "unlike");
    assert!(
        outcome.stderr.contains("the image tower's embedding has 128 values, the text tower's 64"),
        "{}",
        outcome.stderr
    );
    let outcome = refused(&scene, &["a", "b"], 1, "unlike");
    assert!(outcome.stderr.contains("`visual.proj`"), "{}", outcome.stderr);
}
