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

/// The cosine of two features.
fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn int8_graphs_are_small_and_near() {
    let scene = Scene::new();
    let expected = features(&scene, &SOURCE, &["--normalize"]);
    export(&scene, "onnx", "plain", &["--quiet"]).ended(0);
    let bytes = |folder: &str| -> u64 {
        let names = ["visual.onnx", "visual.onnx.data", "text.onnx", "text.onnx.data"];
        let path = |name: &&str| std::fs::metadata(scene.path(folder).join(name)).expect("a file").len();
        names.iter().map(path).sum()
    };
    for (precision, said, least) in
        [("int8", "int8, fixed scales", 0.9995), ("int8-weights", "int8 weights", 0.9998)]
    {
        export(&scene, "onnx", precision, &["--precision", precision, "--max-loss", "0.001", "--quiet"])
            .ended(0);
        assert!(bytes(precision) as f64 <= 0.27 * bytes("plain") as f64, "{}", bytes(precision));
        let found = features(&scene, &[precision], &["--normalize"]);
        for (found, expected) in found.iter().zip(&expected) {
            let cosine = cosine(found, expected);
            assert!(cosine > least && cosine < 1.0 - 1e-7, "{precision}: {cosine}");
        }
        let inspected = scene.run(&["inspect", precision]).ended(0).stdout;
        assert!(inspected.contains(said), "{inspected}");
        let text = std::fs::read_to_string(scene.path(precision).join("clipway.json")).expect("the artifact");
        let document: Value = serde_json::from_str(&text).expect("JSON");
        assert!(document["quantization"]["tensors"].as_u64() > Some(40), "{}", document["quantization"]);
        assert!(text.contains("1 - cosine of the graphs in int8 is on average"), "{}", document["notes"]);
        let arguments = ["verify", precision, "--against", SOURCE[0], SOURCE[1], SOURCE[2]];
        scene.run(&arguments).ended(0);
    }
    // The same input gives the same scales.
    export(&scene, "onnx", "again", &["--precision", "int8", "--max-loss", "0.001", "--quiet"]).ended(0);
    assert!(contents(&scene.path("again")) == contents(&scene.path("int8")));
    // transformers.js knows int8 by this name.
    export(&scene, "onnx-transformers", "js", &["--precision", "int8-weights", "--quiet"]).ended(0);
    assert!(scene.path("js/onnx/vision_model_quantized.onnx").is_file());
}

#[test]
fn int8_that_cannot_be_had_is_refused() {
    let scene = Scene::new();
    std::fs::create_dir(scene.path("empty")).expect("a folder");
    std::fs::write(scene.path("empty/notes.txt"), "no image").expect("a file");
    let check = |to: &str, options: &[&str], expected: &str| {
        let outcome = export(&scene, to, "out", options);
        assert!(matches!(outcome.code, Some(1 | 2)), "{outcome:?}");
        assert!(outcome.stderr.contains(expected), "{expected}: {}", outcome.stderr);
        assert!(!scene.path("out").exists(), "{expected}");
    };
    check("clipway", &["--precision", "int8-weights"], "`--to clipway` has no int8-weights");
    check("onnx,open_clip", &["--precision", "int8"], "`--to open_clip` has no int8");
    check("onnx", &["--precision", "int8", "--calibration", "empty"], "empty");
    check("onnx", &["--precision", "int8", "--max-loss", "1e-7"], "over-budget");
    check("onnx", &["--calibration", "EMOJI/pictures"], "add `--precision int8`");
    scene
        .run(
            &[
                &["export"],
                &SOURCE[..],
                &["--to", "clipway", "--precision", "int8", "--out", "own", "--quiet"],
            ]
            .concat(),
        )
        .ended(0);
    let arguments = ["export", "own", "--to", "onnx", "--precision", "int8", "--out", "out"];
    let outcome = scene.run(&arguments).ended(1);
    assert!(outcome.stderr.contains("in int8 already"), "{}", outcome.stderr);
}

#[test]
fn a_stored_classifier_is_compared_with_its_labels() {
    let scene = Scene::new();
    let options = ["--classifier", "EMOJI/labels.txt", "--template", "an icon of {}", "--quiet"];
    export(&scene, "onnx", "out", &options).ended(0);
    let against = ["--against", SOURCE[0], SOURCE[1], SOURCE[2]];
    let verify = |path: &str| scene.run(&[&["verify", path, "--json"], &against[..]].concat());
    let report = verify("out").ended(0).json();
    let named = |report: &Value| {
        let stages = report["stages"].as_array().expect("stages").clone();
        stages.into_iter().find(|stage| stage["name"] == "classifier's logits").expect("the stage")
    };
    assert_eq!(named(&report)["passed"], true);
    assert!(verify("out/classifier.onnx").ended(2).stderr.contains("is a classifier"));
    // A classifier of other labels is found out; the towers are right.
    export(&scene, "onnx", "other", &["--classifier", "EMOJI/labels.txt", "--template", "{}", "--quiet"])
        .ended(0);
    std::fs::remove_file(scene.path("out/clipway.json")).expect("the artifact");
    let path = scene.path("out/classifier.onnx");
    let bytes = std::fs::read(scene.path("other/classifier.onnx")).expect("a graph");
    let label = b"OK hand";
    let at = bytes.windows(label.len()).position(|window| window == label).expect("the label");
    std::fs::write(&path, &bytes).expect("a graph");
    std::fs::copy(scene.path("other/classifier.onnx.data"), scene.path("out/classifier.onnx.data"))
        .expect("its data");
    assert_eq!(named(&verify("out").ended(0).json())["passed"], true);
    let mut damaged = bytes;
    damaged[at..at + label.len()].copy_from_slice(b"OK head");
    std::fs::write(&path, &damaged).expect("a graph");
    let report = verify("out").ended(1).json();
    assert_eq!(named(&report)["passed"], false);
    let features = |stage: &&Value| stage["name"].as_str().is_some_and(|name| name.ends_with("features"));
    let stages = report["stages"].as_array().expect("stages");
    assert!(stages.iter().filter(features).all(|stage| stage["passed"] == true), "{stages:?}");
}

#[test]
fn images_are_turned_for_graphs_too() {
    let scene = Scene::new();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clipway-run/tests/data/images");
    let mut bytes = std::fs::read(samples.join("baseline.jpg")).expect("a sample");
    // An EXIF segment whose one entry is the orientation, 6: turned by 90 degrees.
    let exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let segment = [&[0xff, 0xe1], &(exif.len() as u16 + 2).to_be_bytes()[..], exif].concat();
    bytes.splice(2..2, segment);
    scene.write("turned.jpg", bytes);
    export(&scene, "onnx", "graphs", &["--quiet"]).ended(0);
    let features = |model: &[&str], options: &[&str]| -> Vec<Vec<f64>> {
        let arguments = [&["embed"], model, &["turned.jpg", "--normalize"], options].concat();
        let rows = scene.run(&arguments).ended(0).json();
        let values = rows[0]["features"].as_array().expect("features").iter();
        vec![values.map(|value| value.as_f64().expect("a number")).collect()]
    };
    let turned = features(&["graphs"], &["--apply-orientation"]);
    assert_near(&turned, &features(&SOURCE, &["--apply-orientation"]), TOLERANCE);
    assert_ne!(turned, features(&["graphs"], &[]));
}
