//! `clipway compare`.

use crate::scene::Scene;
use crate::snapshot::{check, check_refused};

const SOURCE: &str = "EMOJI/emoji-clip.pt";

#[test]
fn an_export_is_its_source_and_a_copy_at_another_precision_a_twin() {
    let scene = Scene::new();
    scene.export(&["--precision", "fp16", "--out", "half"]);
    let source = ["compare", "EXPORTED", SOURCE, "--model", "EMOJI/emoji-clip.json"];
    let same = scene.run(&[&source[..], &["--json"]].concat()).ended(0).json();
    assert_eq!((&same["verdict"], &same["first_difference"]), (&"same".into(), &serde_json::Value::Null));
    assert_eq!(same["models"][0]["fingerprint"], same["models"][1]["fingerprint"]);
    let twin = scene.run(&["compare", "EXPORTED", "half", "--json"]).ended(0).json();
    assert_eq!(twin["verdict"], "twin");
    assert_eq!(twin["models"][1]["precision"], "fp16");
    assert!(twin["images"]["worst"].as_f64().is_some_and(|worst| worst > 0.9999), "{twin}");
    check(&scene, "compare-twin", &["compare", "EXPORTED", "half"]);
    // Another library reads the same folder's weights with other tokens and other pixels.
    scene.export(&["--to", "transformers", "--out", "transformers"]);
    let other = scene.run(&["compare", "EXPORTED", "transformers", "--json"]).ended(1).json();
    assert_eq!((&other["verdict"], &other["first_difference"]), (&"other".into(), &"pixels".into()));
    let said = other["differences"][0].as_str().expect("a difference");
    assert!(said.starts_with("tokens of 7 of 35 texts, such as"), "{said}");
}

#[cfg(unix)]
#[test]
fn names_of_models_are_escaped() {
    let scene = Scene::new();
    scene.copy_exported("a`\ncopy");
    let said = scene.run(&["compare", "EXPORTED", "a`\ncopy"]).ended(0).stdout;
    assert!(said.contains(r"and `a\u{60}\u{a}copy` ("), "{said}");
}

#[test]
fn the_first_difference_is_named() {
    let scene = Scene::new();
    scene.export(&["--image-mean", "0.5", "0.5", "0.5", "--out", "mean"]);
    let mean = scene.run(&["compare", "EXPORTED", "mean", "--json"]).ended(1).json();
    assert_eq!((&mean["verdict"], &mean["first_difference"]), (&"other".into(), &"pixels".into()));
    assert!(mean["differences"][0].as_str().is_some_and(|text| text.starts_with("mean: [0.48")), "{mean}");
    scene.export(&["--image-size", "64", "--out", "large"]);
    let large = scene.run(&["compare", "EXPORTED", "large", "--json"]).ended(1).json();
    assert_eq!(large["first_difference"], "pixels");
    scene.export(&["--context-length", "12", "--out", "short"]);
    let short = scene.run(&["compare", "EXPORTED", "short", "--json"]).ended(1).json();
    assert_eq!(short["first_difference"], "tokens");
    check_refused(&scene, "compare-nowhere", &["compare", "EXPORTED", "nowhere"]);
}
