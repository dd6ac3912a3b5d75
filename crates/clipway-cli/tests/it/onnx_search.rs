//! Indices of features that ONNX graphs compute, beside those of the engine.

use std::path::Path;

use serde_json::Value;

use crate::scene::{Outcome, Scene, exported};

/// Fills `INDEX` with the demo's images.
fn fill(scene: &Scene, index: &str, model: &[&str]) -> Outcome {
    scene.run(&[&["index", "images", "--index", index, "--json"], model].concat())
}

fn export(scene: &Scene, out: &str, options: &[&str]) {
    scene.export(&[&["--to", "onnx", "--out", out], options].concat());
}

/// Names and cosines of the three best results.
fn best(outcome: Outcome) -> Vec<(String, f64)> {
    let found = outcome.ended(0).json();
    let results = found["queries"][0]["results"].as_array().expect("results").iter();
    let name = |found: &Value| {
        let path = Path::new(found["path"].as_str().expect("a path"));
        path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned()
    };
    results.map(|found| (name(found), found["cosine"].as_f64().expect("a cosine"))).collect()
}

fn search(scene: &Scene, index: &str, query: &str, model: &[&str]) -> Outcome {
    scene.run(&[&["search", "--index", index, query, "-k", "3", "--json"], model].concat())
}

/// A scene with the demo's images, its graphs in f32 in `graphs`, and an index of their features in `graphs.index`.
fn scene() -> Scene {
    let scene = Scene::with_images();
    export(&scene, "graphs", &[]);
    let filled = fill(&scene, "graphs.index", &["--model", "graphs"]).ended(0).json();
    assert_eq!(filled["embedded"], 12, "{filled}");
    scene
}

#[test]
fn graphs_fill_and_search_an_index() {
    let scene = scene();
    let info = scene.run(&["index", "info", "graphs.index", "--json"]).ended(0).json();
    assert_eq!((&info["width"], &info["space"]["precision"]), (&128.into(), &"f32".into()), "{info}");
    assert!(info["model"].as_str().is_some_and(|model| model.ends_with("graphs")), "{info}");
    // The fingerprint is of the graphs' bytes, so the same folder is known, and nothing is embedded again.
    let again = fill(&scene, "graphs.index", &[]).ended(0).json();
    assert_eq!((&again["unchanged"], &again["embedded"]), (&12.into(), &0.into()), "{again}");
    assert_eq!(again["fingerprint"], info["space"]["fingerprint"]);
    // The engine finds the same in an index of its own, and each model can search the other's index.
    fill(&scene, "engine.index", &["--model", "EXPORTED"]).ended(0);
    for query in ["a lion", "images/snail.png"] {
        let expected = best(search(&scene, "engine.index", query, &[]));
        for (index, model) in [
            ("graphs.index", &[][..]),
            ("graphs.index", &["--model", "EXPORTED"]),
            ("engine.index", &["--model", "graphs"]),
        ] {
            let found = best(search(&scene, index, query, model));
            for ((name, cosine), (other, expected)) in found.iter().zip(&expected) {
                assert_eq!(name, other, "{query} in {index} by {model:?}");
                assert!((cosine - expected).abs() < 1e-3, "{query} in {index} by {model:?}");
            }
        }
    }
    // One file of the folder has one tower.
    let found = best(search(&scene, "graphs.index", "a lion", &["--model", "graphs/text.onnx"]));
    assert_eq!(found[0].0, "lion.png");
    let engine = search(&scene, "graphs.index", "a lion", &["--model", "graphs", "--backend", "engine"]);
    assert!(matches!(engine.code, Some(1 | 2)), "{engine:?}");
}

#[test]
fn twins_search_and_do_not_fill() {
    let scene = scene();
    let expected = best(search(&scene, "graphs.index", "a lion", &[]));
    for (precision, name) in [("fp16", "fp16"), ("int8-weights", "int8")] {
        export(&scene, precision, &["--precision", precision]);
        let found = best(search(&scene, "graphs.index", "a lion", &["--model", precision]));
        assert_eq!(found[0].0, expected[0].0, "{precision}");
        let before = scene.listing();
        let refused = fill(&scene, "graphs.index", &["--model", precision]).ended(1);
        assert!(refused.stderr.contains("the same model at another precision"), "{}", refused.stderr);
        assert!(refused.stderr.contains(&format!("f32 against {name}")), "{}", refused.stderr);
        assert_eq!(scene.listing(), before);
    }
}

#[test]
fn another_model_is_refused_by_both_names() {
    let scene = scene();
    // Another model: every third weight a fifth larger.
    let mut bytes = std::fs::read(exported().join("open_clip_model.safetensors")).expect("the weights");
    let start = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    for value in bytes[start..].as_chunks_mut::<4>().0.iter_mut().step_by(3) {
        *value = (f32::from_le_bytes(*value) * 1.2).to_le_bytes();
    }
    scene.write("other.safetensors", bytes);
    let export =
        ["export", "other.safetensors", "--model", "EMOJI/emoji-clip.json", "--to", "onnx", "--out", "other"];
    scene.run(&[&export[..], &["--no-verify", "--quiet"]].concat()).ended(0);
    let before = scene.listing();
    for outcome in [
        search(&scene, "graphs.index", "a lion", &["--model", "other"]).ended(1),
        fill(&scene, "graphs.index", &["--model", "other"]).ended(1),
    ] {
        let said = &outcome.stderr;
        assert!(said.contains("[other-space]") && said.contains("the smallest cosine is"), "{said}");
        assert!(said.contains("graphs") && said.contains("`other`"), "{said}");
    }
    assert_eq!(scene.listing(), before);
}
