//! ONNX folders as whole commands: written, read back, run by their own files and refused.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::scene::{Outcome, Scene};

const SOURCE: [&str; 3] = ["EMOJI/emoji-clip.pt", "--model", "EMOJI/emoji-clip.json"];
const LION: &str = "EMOJI/pictures/lion.png";

/// Largest difference of a feature of length 1 from the engine's.
const TOLERANCE: f64 = 2e-5;

/// The same where images are resized as transformers does it, which gives other pixels than open_clip.
const OTHER_PIXELS: f64 = 1e-3;

/// Exports the demo model to `out`.
fn export(scene: &Scene, to: &str, out: &str, options: &[&str]) -> Outcome {
    scene.run(&[&["export"], &SOURCE[..], &["--to", to, "--out", out], options].concat())
}

/// The features of an image and a text.
fn features(scene: &Scene, model: &[&str], options: &[&str]) -> Vec<Vec<f64>> {
    let inputs = [LION, "--text", "a red apple"];
    let rows = scene.run(&[&["embed"], model, &inputs, options].concat()).ended(0).json();
    let numbers = |row: &Value| {
        let list = row["features"].as_array().expect("features");
        list.iter().map(|number| number.as_f64().expect("a number")).collect()
    };
    rows.as_array().expect("rows").iter().map(numbers).collect()
}

#[track_caller]
fn assert_near(found: &[Vec<f64>], expected: &[Vec<f64>], tolerance: f64) {
    let pairs = found.iter().flatten().zip(expected.iter().flatten());
    let worst = pairs.map(|(found, expected)| (found - expected).abs()).fold(0.0, f64::max);
    assert!(found.len() == expected.len() && worst <= tolerance, "{worst}");
}

/// The stages of an artifact's verification.
fn stages(scene: &Scene, folder: &str) -> Vec<String> {
    let text = std::fs::read_to_string(scene.path(folder).join("clipway.json")).expect("the artifact");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let stages = document["verification"]["stages"].as_array().expect("stages");
    stages.iter().map(|stage| stage["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn folders_of_each_layout_run_by_their_own_files() {
    let scene = Scene::new();
    let expected = features(&scene, &SOURCE, &["--normalize"]);
    for (to, image, text, tolerance) in [
        ("onnx", "visual.onnx", "text.onnx", TOLERANCE),
        ("onnx-immich", "visual/model.onnx", "textual/model.onnx", TOLERANCE),
        ("onnx-transformers", "onnx/vision_model.onnx", "onnx/text_model.onnx", OTHER_PIXELS),
    ] {
        export(&scene, to, to, &["--quiet"]).ended(0);
        let found = features(&scene, &[to], &["--normalize"]);
        assert_near(&found, &expected, tolerance);
        assert_near(&found[1..], &expected[1..], TOLERANCE);
        let arguments = ["classify", to, LION, "--labels-file", "EMOJI/labels.txt", "--json"];
        let best = scene.run(&arguments).ended(0).stdout;
        assert!(best.contains("lion"), "{best}");
        for (file, stage) in [(image, "image features"), (text, "text features")] {
            let path = format!("{to}/{file}");
            let arguments = ["verify", &path, "--against", SOURCE[0], SOURCE[1], SOURCE[2], "--json"];
            let report = scene.run(&arguments).ended(0).json();
            let names: Vec<&str> = report["stages"]
                .as_array()
                .expect("stages")
                .iter()
                .filter_map(|s| s["name"].as_str())
                .collect();
            assert!(names.contains(&stage) && report["passed"] == true, "{names:?}");
        }
        assert_eq!(scene.run(&["verify", to]).ended(0).stdout.lines().count(), 1);
        let said = scene.run(&["inspect", to]).ended(0).stdout;
        assert!(said.contains("operator set 17"), "{said}");
    }
}

#[test]
fn a_single_tower_is_written_and_run() {
    let scene = Scene::new();
    export(&scene, "onnx", "image", &["--tower", "image", "--quiet"]).ended(0);
    assert!(scene.path("image/visual.onnx").is_file() && !scene.path("image/text.onnx").exists());
    let expected = features(&scene, &SOURCE, &["--normalize"]);
    let rows = scene.run(&["embed", "image", LION]).ended(0).json();
    assert!((rows[0]["features"][0].as_f64().expect("a number") - expected[0][0]).abs() <= TOLERANCE);
    scene.run(&["embed", "image", "--text", "a lion"]).ended(1);
}

#[test]
fn options_change_what_is_written_and_not_what_is_computed() {
    let scene = Scene::new();
    let expected = features(&scene, &SOURCE, &[]);
    let options = ["--batch", "3", "--normalize", "no", "--input", "uint8", "--external-data", "--quiet"];
    export(&scene, "onnx-immich,onnx-transformers", "out", &options).ended(0);
    for (folder, data, tolerance) in [
        ("out/onnx-immich", "visual/model.onnx.data", TOLERANCE),
        ("out/onnx-transformers", "onnx/vision_model.onnx_data", OTHER_PIXELS),
    ] {
        let size = std::fs::metadata(scene.path(folder).join(data)).expect("external data").len();
        assert!(size > 4_000_000, "{size}");
        let largest = expected.iter().flatten().fold(0.0, |most: f64, value| most.max(value.abs()));
        assert_near(&features(&scene, &[folder], &[]), &expected, tolerance * largest);
        let said = scene.run(&["inspect", folder]).ended(0).stdout;
        assert!(said.contains("U8 [3, 48, 48, 3]"), "{said}");
    }
    let config = std::fs::read_to_string(scene.path("out/onnx-transformers/config.json")).expect("a config");
    let config: Value = serde_json::from_str(&config).expect("JSON");
    let external = &config["transformers.js_config"]["use_external_data_format"];
    assert_eq!((&external["vision_model.onnx"], &external["text_model.onnx"]), (&1.into(), &1.into()));
    // A folder that was moved runs; one without its data does not, and says which file is missing.
    std::fs::rename(scene.path("out/onnx-transformers"), scene.path("moved")).expect("a rename");
    features(&scene, &["moved"], &[]);
    std::fs::remove_file(scene.path("moved/onnx/vision_model.onnx_data")).expect("a file");
    let outcome = scene.run(&["embed", "moved", LION]).ended(1);
    assert!(outcome.stderr.contains("vision_model.onnx_data"), "{}", outcome.stderr);
}

#[test]
fn heads_are_written_and_verified() {
    let scene = Scene::new();
    let options = ["--combined", "--classifier", "EMOJI/labels.txt", "--precision", "fp16", "--quiet"];
    export(&scene, "onnx-transformers", "out", &options).ended(0);
    let names = stages(&scene, "out");
    for stage in ["image features of both", "text features of both", "classifier's logits"] {
        assert!(names.iter().any(|name| name == stage), "{names:?}");
    }
    let [half, data] = ["onnx/vision_model_fp16.onnx", "onnx/text_model_fp16.onnx"]
        .map(|name| std::fs::metadata(scene.path("out").join(name)).expect("a graph").len());
    // 4.96 and 13.5 MB in f32.
    assert!(half < 2_530_000 && data < 6_890_000, "{half} {data}");
    let arguments = ["verify", "out/onnx/model_fp16.onnx", "--against", SOURCE[0], SOURCE[1], SOURCE[2]];
    scene.run(&arguments).ended(0);
    let arguments = ["embed", "out", LION, "--text", "a lion"];
    assert_eq!(scene.run(&arguments).ended(0).json().as_array().map(Vec::len), Some(2));
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let scene = Scene::new();
    std::fs::create_dir(scene.path("elsewhere")).expect("a folder");
    for out in ["first", "elsewhere/second"] {
        export(&scene, "onnx-transformers", out, &["--precision", "fp16", "--license", "MIT", "--quiet"])
            .ended(0);
    }
    let [first, second] = ["first", "elsewhere/second"].map(|folder| contents(&scene.path(folder)));
    assert!(first.len() > 8 && first.keys().eq(second.keys()));
    for (name, bytes) in &first {
        assert!(*bytes == second[name], "{name}");
    }
    // Each graph says what it was made of.
    let document: Value = serde_json::from_slice(&first["clipway.json"]).expect("JSON");
    let hash = document["source"]["files"]["emoji-clip.pt"]["sha256"].as_str().expect("a hash");
    for name in ["onnx/vision_model_fp16.onnx", "onnx/text_model_fp16.onnx"] {
        let text = String::from_utf8_lossy(&first[name]);
        assert!(text.contains(&format!(r#"{{"emoji-clip.pt":"{hash}"}}"#)), "{name}");
        assert!(text.contains("clipway.license") && text.contains("clipway.contract"), "{name}");
    }
}

/// Every file below a folder.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            found
                .extend(contents(&path).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            found.insert(name, std::fs::read(&path).expect("a file"));
        }
    }
    found
}

#[test]
fn what_a_layout_cannot_hold_is_refused() {
    let scene = Scene::new();
    for (to, options, expected) in [
        ("onnx", &["--max-shard-size", "1MB"][..], "`--max-shard-size`"),
        ("onnx", &["--precision", "bf16"], "bf16"),
        ("onnx-immich", &["--combined"], "`--combined`"),
        ("onnx-immich", &["--classifier", "EMOJI/labels.txt"], "`--classifier`"),
        ("open_clip", &["--batch", "2"], "`--batch`"),
        ("open_clip", &["--external-data"], "`--external-data`"),
        ("onnx", &["--batch", "0"], "--batch"),
    ] {
        let outcome = export(&scene, to, "out", options);
        assert!(matches!(outcome.code, Some(1 | 2)), "{outcome:?}");
        assert!(outcome.stderr.contains(expected), "{expected}: {}", outcome.stderr);
        assert!(!scene.path("out").exists(), "{expected}");
    }
}
