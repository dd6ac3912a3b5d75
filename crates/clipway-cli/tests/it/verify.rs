//! `clipway verify`.

use crate::scene::Scene;
use crate::snapshot::{check, check_refused};

const SOURCE: &str = "EMOJI/emoji-clip.pt";

#[test]
fn a_folder_is_as_its_source() {
    let scene = Scene::new();
    for (name, arguments) in [
        ("verify", &["verify", "EXPORTED"][..]),
        ("verify-probe", &["verify", "EXPORTED", "--probe"]),
        ("verify-hashes", &["verify", "EXPORTED", "--hashes-only"]),
        ("verify-against", &["verify", "EXPORTED", "--against", SOURCE]),
        ("verify-blocks", &["verify", "EXPORTED", "--against", SOURCE, "--blocks", "--quiet"]),
    ] {
        assert_eq!(check(&scene, name, arguments).code, Some(0));
    }
}

#[test]
fn json_has_the_stages() {
    let scene = Scene::new().with_texts();
    let given = ["--images", "EMOJI/pictures", "--texts", "texts.txt"];
    let arguments = [&["verify", "EXPORTED", "--against", SOURCE, "--json", "--probe"][..], &given].concat();
    let report = scene.run(&arguments).ended(0).json();
    let stages = report["stages"].as_array().expect("stages");
    let names: Vec<&str> = stages.iter().filter_map(|stage| stage["name"].as_str()).collect();
    assert_eq!(names, ["pixels", "tokens", "image features", "text features", "logits"]);
    assert_eq!((&report["images"], &report["texts"]), (&12.into(), &3.into()));
    assert_eq!(stages[2]["compared"], 12 * 128);
    assert!(report["image_sensitivity"].as_f64().is_some_and(|spread| spread > 0.1), "{report}");
    let hashes = scene.run(&["verify", "EXPORTED", "--hashes-only", "--json"]).ended(0).json();
    assert_eq!((&hashes["tensors"], &hashes["files"]), (&134.into(), &8.into()));
    assert!(hashes.get("activation").is_none());
    let weighed = scene.run(&["verify", "EXPORTED", "--probe", "--json"]).ended(0).json();
    assert_eq!((&weighed["tensors"], &weighed["activation"]), (&134.into(), &report["activation"]));
    assert_eq!(report["activation"]["pairs"], 200);
}

#[test]
fn a_model_that_cannot_be_weighed_is_verified_all_the_same() {
    let scene = Scene::new();
    for tower in ["image", "text"] {
        let export = ["export", SOURCE, "--model", "EMOJI/emoji-clip.json", "--tower", tower, "--out", tower];
        scene.run(&[&export[..], &["--no-verify", "--quiet"]].concat()).ended(0);
    }
    check(&scene, "verify-one-tower", &["verify", "image", "--probe"]);
    let report = scene.run(&["verify", "text", "--probe", "--json"]).ended(0).json();
    assert_eq!(report["activation"], serde_json::json!({ "why": "the model has only one tower" }));
}

#[test]
fn a_config_whose_hash_was_dropped_is_found() {
    let scene = Scene::new();
    scene.copy_exported("odd");
    let config = scene.path("odd/open_clip_config.json");
    let text =
        std::fs::read_to_string(&config).expect("the config").replacen("\"layers\": 6", "\"layers\": 5", 1);
    scene.write("odd/open_clip_config.json", &text);
    let artifact = std::fs::read_to_string(scene.path("odd/clipway.json")).expect("the artifact");
    let mut artifact: serde_json::Value = serde_json::from_str(&artifact).expect("JSON");
    artifact["files"].as_object_mut().expect("files").remove("open_clip_config.json").expect("its hash");
    scene.write("odd/clipway.json", artifact.to_string());
    check_refused(&scene, "verify-odd", &["verify", "odd"]);
    for command in [
        &["verify", "odd", "--hashes-only"][..],
        &["verify", "odd", "--against", SOURCE],
        &["inspect", "odd"],
    ] {
        scene.run(command).ended(1);
    }
}

/// Files that are not part of the artifact are neither verified nor loaded.
#[test]
fn strangers_in_the_folder_are_found() {
    let scene = Scene::new();
    let export = ["export", SOURCE, "--model", "EMOJI/emoji-clip.json", "--to", "pytorch", "--out", "a"];
    scene.run(&[&export[..], &["--no-verify", "--quiet"]].concat()).ended(0);
    scene.run(&["verify", "a", "--hashes-only"]).ended(0);
    scene.copy_exported("b");
    std::fs::copy(scene.path("b/open_clip_model.safetensors"), scene.path("a/open_clip_model.safetensors"))
        .expect("a copy");
    let report = scene.run(&["verify", "a", "--hashes-only", "--json"]).ended(1).json();
    assert_eq!(report["differences"], serde_json::json!(["`open_clip_model.safetensors` is not listed"]));
    check_refused(&scene, "verify-unlisted", &["classify", "a", "EMOJI/pictures/lion.png", "--labels", "a"]);
}

#[test]
fn another_activation_is_found() {
    let scene = Scene::new();
    let config = std::fs::read_to_string(crate::scene::emoji().join("emoji-clip.json")).expect("the config");
    scene.write("quick.json", config.replacen('{', "{\"quick_gelu\": true,", 1));
    let arguments = ["verify", "EXPORTED", "--against", SOURCE, "--model", "quick.json", "--quiet"];
    check(&scene, "verify-other-activation", &arguments);
    let report = scene.run(&[&arguments[..], &["--json"]].concat()).ended(1).json();
    assert_eq!(report["passed"], false);
    let passed: Vec<bool> =
        report["stages"].as_array().into_iter().flatten().map(|s| s["passed"] == true).collect();
    assert_eq!(passed, [true, true, false, false, false]);
}

#[test]
fn changed_files_are_found() {
    let scene = Scene::new();
    scene.copy_exported("changed");
    let weights = scene.path("changed/open_clip_model.safetensors");
    let mut bytes = std::fs::read(&weights).expect("the weights");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&weights, bytes).expect("the weights");
    scene.write("changed/vocab.json", "{}");
    check(&scene, "verify-changed", &["verify", "changed"]);
    check(&scene, "verify-changed-json", &["verify", "changed", "--json"]);
    check(&scene, "verify-changed-against", &["verify", "changed", "--against", SOURCE]);
    let report = scene.run(&["verify", "changed", "--against", SOURCE, "--json"]).ended(1).json();
    // The changed weight counts both as a tensor and as a file.
    assert_eq!(report["differences"].as_array().map(Vec::len), Some(3));
    std::fs::remove_file(scene.path("changed/merges.txt")).expect("a file to remove");
    scene.run(&["verify", "changed"]).ended(1);
}

#[test]
fn what_cannot_be_verified_is_refused() {
    let scene = Scene::new().with_texts();
    std::fs::create_dir(scene.path("bare")).expect("a folder");
    scene.write("empty.txt", "\n \n");
    for (name, arguments) in [
        ("verify-no-artifact", &["verify", "bare"][..]),
        ("verify-no-folder", &["verify", "nowhere"]),
        ("verify-no-source", &["verify", "EXPORTED", "--against", "nowhere.pt", "--quiet"]),
        ("verify-no-images", &["verify", "EXPORTED", "--against", SOURCE, "--images", "bare", "--quiet"]),
        ("verify-no-texts", &["verify", "EXPORTED", "--against", SOURCE, "--texts", "empty.txt", "--quiet"]),
    ] {
        check_refused(&scene, name, arguments);
    }
}

impl Scene {
    fn with_texts(self) -> Scene {
        self.write("texts.txt", "a lion\n\n  a tiger \n");
        self
    }
}
