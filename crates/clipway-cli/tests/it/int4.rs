//! Folders in int4: written, verified, run, widened, and refused.

use serde_json::Value;

use super::scene::{Outcome, Scene};

const SOURCE: [&str; 3] = ["EMOJI/emoji-clip.pt", "--model", "EMOJI/emoji-clip.json"];

/// Exports the demo model in int4 to `out`.
fn export(scene: &Scene, to: &str, out: &str, options: &[&str]) -> Outcome {
    let target = ["--to", to, "--precision", "int4", "--quiet", "--out", out];
    scene.run(&[&["export"], &SOURCE[..], &target, options].concat())
}

fn quantization(scene: &Scene, folder: &str) -> Value {
    let text = std::fs::read_to_string(scene.path(folder).join("clipway.json")).expect("the artifact");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    document["quantization"].clone()
}

#[test]
fn a_folder_in_int4_is_verified_and_widened() {
    let scene = Scene::new();
    export(&scene, "clipway", "int4", &[]).ended(0);
    let found = quantization(&scene, "int4");
    assert_eq!(found["integers"], "int4");
    assert_eq!(found["kept"].as_array().map(Vec::len), Some(0));
    for tower in ["image", "text"] {
        let mean = found["reported"][tower]["mean"].as_f64().expect("a loss");
        assert!(mean > 1e-5 && mean < 0.02, "{tower}: {mean}");
    }
    let bytes = |name: &str| std::fs::metadata(scene.path(name)).expect("a file").len() as f64;
    // 4.6 million weights in 4.5 bits, four bytes for each of 58,752 rows, and 0.2 MB of header, biases, norms and projections.
    assert!(bytes("int4/clipway_model.safetensors") < 3.05e6, "{}", bytes("int4/clipway_model.safetensors"));
    scene.run(&["verify", "int4"]).ended(0);
    scene.run(&[&["verify", "int4", "--against"], &SOURCE[..]].concat()).ended(0);

    let wide = ["export", "int4", "--precision", "fp32", "--to", "open_clip", "--out", "wide"];
    let said = scene.run(&wide).ended(0);
    assert!(format!("{said:?}").contains("stored in int4 in the source: they are widened"), "{said:?}");
    scene.run(&["verify", "wide", "--against", "int4"]).ended(0);
    let features = |folder: &str, options: &[&str]| {
        let inputs = ["embed", folder, "EMOJI/pictures/lion.png", "--text", "a red apple", "--normalize"];
        let rows = scene.run(&[&inputs[..], options].concat()).ended(0).json();
        let numbers = rows.as_array().expect("rows").iter().flat_map(|row| {
            row["features"]
                .as_array()
                .expect("features")
                .iter()
                .map(|number| number.as_f64().expect("a number"))
        });
        numbers.collect::<Vec<f64>>()
    };
    let expected = features("wide", &[]);
    assert_eq!(features("int4", &[]), expected, "widened as it is loaded");
    for compute in ["bf16", "int8"] {
        let [found, rounded] = ["int4", "wide"].map(|folder| features(folder, &["--compute", compute]));
        assert_eq!(found, rounded, "{compute}");
        assert_ne!(found, expected, "{compute}");
    }
}

#[test]
fn a_budget_puts_the_costliest_tensors_in_int8() {
    let scene = Scene::new();
    export(&scene, "clipway", "free", &[]).ended(0);
    let cost = |found: &Value| {
        let towers =
            ["image", "text"].map(|tower| found["chosen_by"][tower]["mean"].as_f64().expect("a loss"));
        towers[0].max(towers[1])
    };
    let most = (cost(&quantization(&scene, "free")) / 2.0).to_string();
    let keep = ["--no-verify", "--max-loss", &most, "--keep", "visual.conv1"];
    export(&scene, "clipway", "bound", &keep).ended(0);
    let found = quantization(&scene, "bound");
    assert!(cost(&found) <= most.parse().expect("a number"), "{found}");
    let kept = found["kept"].as_array().expect("a list");
    assert_eq!((&kept[0]["tensor"], &kept[0]["integers"]), (&"visual.conv1.weight".into(), &Value::Null));
    assert!(
        kept.len() > 1 && kept[1..].iter().all(|one| one["why"] == "budget" && one["integers"] == "int8")
    );
    // The folder with tensors of both kinds is a source like any other.
    scene.run(&[&["verify", "bound", "--against"], &SOURCE[..]].concat()).ended(0);
}

#[test]
fn the_model_is_run_only_where_something_asks_for_it() {
    let scene = Scene::new();
    // No tower of the demo model runs in so little memory.
    let check = |target: &str, precision: &str, options: &[&str], is_run: bool| {
        let export =
            ["export", "--to", target, "--precision", precision, "--max-memory", "1KB", "--out", "out"];
        let outcome = scene.run(&[&export[..], &SOURCE, &["--force"], options].concat());
        if is_run {
            let refused = outcome.code == Some(1) && outcome.stderr.contains("the limit is 1000");
            assert!(refused, "{target} {precision} {options:?}: {outcome:?}");
        } else {
            outcome.ended(0);
        }
    };
    for precision in ["int8", "int4"] {
        check("clipway", precision, &["--no-verify"], false);
        let found = quantization(&scene, "out");
        assert!(found["tensors"].as_u64() > Some(10), "{found}");
        assert!(["inputs", "chosen_by", "reported"].iter().all(|key| found.get(key).is_none()), "{found}");
        let card = std::fs::read_to_string(scene.path("out/README.md")).expect("the card");
        assert!(card.contains(&format!("are in {precision}; what that costs was not measured.")), "{card}");
        assert!(card.contains(&format!("what rounding to {precision} costs was not measured")), "{card}");
        check("clipway", precision, &[], true);
        check("clipway", precision, &["--dry-run"], false);
        check("clipway", precision, &["--dry-run", "--max-loss", "0.1"], true);
        check("clipway", precision, &["--no-verify", "--min-agreement", "0.1"], true);
        check("clipway", precision, &["--no-verify", "--calibration", "EMOJI/pictures"], true);
    }
    check("onnx", "int8-weights", &["--no-verify"], false);
    check("onnx", "int8", &["--no-verify"], true);
}

#[test]
fn what_is_written_does_not_depend_on_a_run() {
    let scene = Scene::new();
    export(&scene, "clipway", "run", &[]).ended(0);
    export(&scene, "clipway", "unrun", &["--no-verify"]).ended(0);
    let bytes =
        |folder: &str| std::fs::read(scene.path(folder).join("clipway_model.safetensors")).expect("weights");
    assert!(bytes("run") == bytes("unrun"));
    scene.run(&["inspect", "unrun"]).ended(0);
    scene.run(&[&["verify", "unrun", "--against"], &SOURCE[..]].concat()).ended(0);
}

#[test]
fn int4_that_cannot_be_had_is_refused() {
    let scene = Scene::new();
    let check = |outcome: Outcome, parts: [&str; 2]| {
        assert!(matches!(outcome.code, Some(1 | 2)), "{outcome:?}");
        assert!(parts.iter().all(|part| outcome.stderr.contains(part)), "{parts:?}: {}", outcome.stderr);
        assert!(!scene.path("out").exists(), "{parts:?}");
    };
    for target in ["open_clip", "pytorch", "transformers", "onnx"] {
        let message = format!("`--to {target}` has no int4");
        check(export(&scene, target, "out", &[]), [&message, "pass `--to clipway`"]);
    }
    check(
        export(&scene, "clipway", "out", &["--max-loss", "1e-9"]),
        ["over-budget", "use `--precision int8`"],
    );
    let unknown = "`visual.conv` is no tensor that could be in int4";
    check(export(&scene, "clipway", "out", &["--keep", "visual.conv"]), [unknown, "--tensors"]);
    export(&scene, "clipway", "own", &["--no-verify"]).ended(0);
    for precision in ["int4", "int8"] {
        let again = ["export", "own", "--to", "clipway", "--precision", precision, "--out", "out"];
        check(scene.run(&again), ["`own` is in int4 already", "leave out `--precision`"]);
    }
}
