//! `clipway check`: what it finds in folders of ours, of others, and in broken ones.

use std::fs;

use serde_json::{Value, json};

use crate::scene::{Scene, emoji};
use crate::tensors::Tensors;

/// Runs `check` and returns the status of each point, and its JSON.
#[track_caller]
fn check(scene: &Scene, arguments: &[&str], code: i32) -> (Vec<(String, String)>, Value) {
    let found = scene.run(&[&["check"], arguments, &["--json"]].concat()).ended(code).json();
    let text = |point: &Value, key: &str| point[key].as_str().expect("a text").to_owned();
    let points = found["points"].as_array().expect("points");
    (points.iter().map(|point| (text(point, "name"), text(point, "status"))).collect(), found)
}

/// The point of a name.
#[track_caller]
fn point<'v>(found: &'v Value, name: &str) -> &'v Value {
    let points = found["points"].as_array().expect("points");
    points.iter().find(|point| point["name"] == name).unwrap_or_else(|| panic!("no point {name}: {found:#}"))
}

#[test]
fn a_verified_folder_passes() {
    let scene = Scene::new();
    let (points, found) = check(&scene, &["EXPORTED"], 0);
    let names = |status: &str| {
        points.iter().filter(|(_, found)| found == status).map(|(name, _)| name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(names("fail"), [""; 0]);
    assert_eq!(
        names("pass"),
        [
            "format",
            "size",
            "values",
            "config",
            "preprocessing",
            "tokenizer",
            "activation",
            "verified",
            "unchanged",
            "open_clip 3.3.0",
            "open_clip main",
        ]
    );
    assert_eq!(names("warn"), ["license", "transformers", "immich", "transformers.js"]);
    assert!(point(&found, "verified")["found"].as_str().expect("a text").starts_with("verified: "));
    let mend = &point(&found, "immich")["mend"];
    assert!(mend.as_str().expect("a command").contains("--to onnx-immich --out DIR"), "{mend}");
    // What another program needs is a failure where it is asked for.
    let (_, found) = check(&scene, &["EXPORTED", "--quick", "--for", "open_clip,immich"], 1);
    assert_eq!(point(&found, "immich")["status"], "fail");
    assert!(!found["points"].as_array().expect("points").iter().any(|point| point["name"] == "values"));
}

#[test]
fn a_checkpoint_of_training_is_no_deployment() {
    let scene = Scene::new();
    let (_, found) = check(&scene, &["EMOJI/emoji-clip.pt", "--model", "EMOJI/emoji-clip.json"], 0);
    for name in ["format", "config", "license", "verified", "open_clip 3.3.0"] {
        assert_eq!(point(&found, name)["status"], "warn", "{name}");
    }
    assert!(point(&found, "format")["found"].as_str().expect("a text").contains("a pickle"));
    // Without a config its model is unknown.
    let (_, found) = check(&scene, &["EMOJI/emoji-clip.pt", "--quick"], 1);
    assert_eq!(point(&found, "config")["status"], "fail");
}

#[test]
fn damage_and_strangers_are_found() {
    let scene = Scene::new();
    scene.copy_exported("changed");
    let config = scene.path("changed/open_clip_config.json");
    let text = fs::read_to_string(&config).expect("the config");
    fs::write(&config, text.replace("bicubic", "bilinear")).expect("the config");
    let (_, found) = check(&scene, &["changed"], 1);
    let unchanged = point(&found, "unchanged");
    assert_eq!(unchanged["status"], "fail");
    assert!(unchanged["found"].as_str().expect("a text").contains("`open_clip_config.json` has changed"));

    let model = fs::read(emoji().join("emoji-clip.pt")).expect("the checkpoint");
    scene.write("cut.pt", &model[..model.len() / 2]);
    let (points, found) = check(&scene, &["cut.pt"], 1);
    assert_eq!(points, [("files".to_owned(), "fail".to_owned())], "{found:#}");
    // What is not there is no answer.
    scene.run(&["check", "nowhere"]).ended(2);
}

#[test]
fn values_and_what_is_beside_them_are_found() {
    let scene = Scene::new();
    let model = ["--model", "EMOJI/emoji-clip.json"];
    let found =
        |name: &str, more: &[&str], code: i32| check(&scene, &[&[name], &model[..], more].concat(), code).1;
    Tensors::emoji().with("head.weight", &[1000, 250]).write(&scene.path("head.safetensors"));
    let beside = found("head.safetensors", &["--ignore", "head.*"], 0);
    assert_eq!(point(&beside, "size")["status"], "warn", "{beside:#}");
    assert!(
        point(&beside, "size")["found"].as_str().expect("a text").starts_with("1.0 MB of "),
        "{beside:#}"
    );
    Tensors::emoji().set("visual.proj", 3, 70_000.0).write(&scene.path("large.safetensors"));
    let large = found("large.safetensors", &[], 0);
    let expected = "fp32, finite; 1 tensor beyond the range of fp16: `visual.proj`";
    assert_eq!(point(&large, "values")["found"], expected);
    Tensors::emoji().set("visual.proj", 3, f32::NAN).write(&scene.path("nan.safetensors"));
    let nan = found("nan.safetensors", &[], 1);
    assert_eq!(point(&nan, "values")["found"], "1 tensor with NaN or infinite values: `visual.proj`");
}

#[test]
fn a_folder_of_graphs_is_checked_by_its_files() {
    let scene = Scene::new();
    scene.run(&["export", "EXPORTED", "--to", "onnx-immich", "--no-verify", "--out", "graphs"]).ended(0);
    let (_, found) = check(&scene, &["graphs", "--for", "immich"], 0);
    assert_eq!(point(&found, "immich")["status"], "pass");
    assert_eq!(point(&found, "verified")["status"], "warn");
    assert_eq!(point(&found, "unchanged")["status"], "pass");
    assert_eq!(point(&found, "open_clip 3.3.0")["status"], "warn");
    fs::remove_file(scene.path("graphs/visual/preprocess_cfg.json")).expect("a file");
    let (_, found) = check(&scene, &["graphs", "--for", "immich"], 1);
    assert_eq!(point(&found, "immich")["status"], "fail");
    assert_eq!(point(&found, "unchanged")["status"], "fail");
}

#[test]
fn the_page_is_one_file() {
    let scene = Scene::new();
    let outcome = scene.run(&["check", "EXPORTED", "--quick", "--html", "page.html"]).ended(0);
    assert!(outcome.stdout.ends_with(" failed\n"), "{}", outcome.stdout);
    let page = fs::read_to_string(scene.path("page.html")).expect("the page");
    for expected in ["<!doctype html>", "deployment checklist", "<svg", "image features", "<h2>Contract</h2>"]
    {
        assert!(page.contains(expected), "{expected}");
    }
    assert!(!page.contains("http"), "nothing is fetched");
    let refused = scene.run(&["check", "EXPORTED", "--quick", "--html", "page.html"]).ended(2);
    assert!(refused.stderr.contains("`--force`"), "{}", refused.stderr);
    scene.run(&["check", "EXPORTED", "--quick", "--html", "page.html", "--force"]).ended(0);
}

#[test]
fn the_license_of_a_card_is_read() {
    let scene = Scene::new();
    let license = ["export", "EXPORTED", "--license", "mit", "--no-verify", "--out", "stated"];
    scene.run(&license).ended(0);
    let (_, found) = check(&scene, &["stated", "--quick"], 0);
    assert_eq!(
        point(&found, "license")["found"],
        json!("mit (the source's `clipway.json`: set by the option `license`)")
    );
    scene.copy_exported("card");
    fs::remove_file(scene.path("card/clipway.json")).expect("a file");
    scene
        .write("card/README.md", "---\nlicense: \"apache-2.0\"\ntags: [a]\n---\n# A model\nlicense: other\n");
    let (_, found) = check(&scene, &["card", "--quick"], 0);
    assert_eq!(point(&found, "license")["found"], json!("apache-2.0 (`README.md`, `license`)"));
}
