//! `clipway export`: its output.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::scene::{Scene, exported};
use crate::snapshot::{check, check_refused};

const EMOJI: [&str; 4] = ["export", "EMOJI/emoji-clip.pt", "--model", "EMOJI/emoji-clip.json"];

/// Exports the demo model to `out`.
fn export(scene: &Scene, out: &str, options: &[&str]) -> Value {
    let arguments = [&EMOJI, options, &["--out", out, "--json"]].concat();
    scene.run(&arguments).ended(0).json()
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

fn json_file(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")
}

#[test]
fn the_folder_is_reported() {
    let scene = Scene::new();
    check(&scene, "export", &[&EMOJI[..], &["--out", "out"]].concat());
    assert_eq!(names(&scene.path("")), BTreeSet::from(["out".to_owned()]));
    check(&scene, "export-quiet", &[&EMOJI[..], &["--out", "out", "--force", "--quiet"]].concat());
}

#[test]
fn a_dry_run_writes_nothing() {
    let scene = Scene::new();
    let options = ["--dry-run", "--out", "out", "--precision", "fp16", "--tower", "image"];
    check(&scene, "export-dry-run", &[&EMOJI[..], &options].concat());
    let plan = scene.run(&[&EMOJI[..], &["--dry-run", "--json"]].concat()).ended(0).json();
    assert_eq!(plan["bytes_before"], 18_479_319);
    assert_eq!(plan["ledger"]["written_tensors"], 134);
    assert!(scene.listing().is_empty());
}

#[test]
fn targets_and_precisions_give_their_files() {
    let scene = Scene::new();
    let common = "README.md clipway.json merges.txt open_clip_config.json special_tokens_map.json tokenizer.json \
                  tokenizer_config.json vocab.json";
    let check = |out: &str, options: &[&str], weights: &[&str], cosine: f64| {
        let report = export(&scene, out, options);
        let expected: BTreeSet<String> =
            common.split_whitespace().chain(weights.iter().copied()).map(str::to_owned).collect();
        assert_eq!(names(&scene.path(out)), expected, "{options:?}");
        assert_eq!(report["verification"]["passed"], true);
        let stages = report["verification"]["stages"].as_array().expect("stages");
        let cosines: Vec<f64> = stages.iter().filter_map(|stage| stage["cosine"].as_f64()).collect();
        assert!(cosines.len() == 2 && cosines.iter().all(|found| *found >= cosine), "{cosines:?}");
    };
    let (safetensors, pytorch) = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin");
    check("bin", &["--to", "pytorch"], &[pytorch], 0.999_999);
    check("two", &["--to", "open_clip,pytorch", "--precision", "fp16"], &[safetensors, pytorch], 0.9999);
    check("bf16", &["--precision", "bf16"], &[safetensors], 0.999);
    let shards = [
        "open_clip_model-00001-of-00003.safetensors",
        "open_clip_model-00002-of-00003.safetensors",
        "open_clip_model-00003-of-00003.safetensors",
        "open_clip_model.safetensors.index.json",
    ];
    let options = ["--precision", "fp16", "--max-shard-size", "4MB"];
    let report = scene.run(&[&EMOJI[..], &options, &["--out", "shards", "--json"]].concat()).ended(0).json();
    assert_eq!(report["verification"]["passed"], true);
    assert!(names(&scene.path("shards")).contains(shards[3]), "{:?}", names(&scene.path("shards")));

    let precision =
        |out: &str| scene.run(&["inspect", out, "--json"]).ended(0).json()["weights"]["precision"].clone();
    assert_eq!(["two", "bf16", "shards"].map(precision), ["fp16", "bf16", "fp16"].map(Value::from));
}

#[test]
fn one_tower_leaves_the_other_out() {
    let scene = Scene::new();
    for (tower, kept, dropped, stage) in
        [("image", 81, 53, "image features"), ("text", 54, 80, "text features")]
    {
        let report = export(&scene, tower, &["--tower", tower]);
        let ledger = &report["ledger"];
        assert_eq!(ledger["source_tensors"], 134);
        let groups = ledger["groups"].as_array().expect("groups");
        let of = |fate: &str| -> u64 {
            groups
                .iter()
                .filter(|group| group["fate"] == fate)
                .filter_map(|group| group["tensors"].as_u64())
                .sum()
        };
        assert_eq!((of("written"), of("dropped")), (kept, dropped), "{tower}");
        let stages = report["verification"]["stages"].as_array().expect("stages");
        assert!(stages.iter().any(|found| found["name"] == stage), "{stages:?}");
        scene.run(&["verify", tower, "--against", "EMOJI/emoji-clip.pt"]).ended(0);
    }
    check_refused(
        &scene,
        "classify-one-tower",
        &["classify", "image", "EMOJI/pictures/lion.png", "--labels", "a,b"],
    );
}

#[test]
fn other_sizes_and_preprocessing_are_in_the_config() {
    let scene = Scene::new();
    let sizes = ["--image-size", "64", "--context-length", "24"];
    let preprocessing = ["--image-mean", "0.5", "0.25", "0.125", "--image-std", "1", "2", "3"];
    let modes = ["--interpolation", "bilinear", "--resize-mode", "squash"];
    export(&scene, "out", &[&sizes[..], &preprocessing, &modes].concat());
    let config = json_file(&scene.path("out/open_clip_config.json"));
    assert_eq!(config["model_cfg"]["vision_cfg"]["image_size"], 64);
    assert_eq!(config["model_cfg"]["text_cfg"]["context_length"], 24);
    assert_eq!(config["model_cfg"]["quick_gelu"], false);
    let preprocess = &config["preprocess_cfg"];
    assert_eq!(preprocess["size"], 64);
    assert_eq!(preprocess["mean"], json!([0.5, 0.25, 0.125]));
    assert_eq!(preprocess["std"], json!([1.0, 2.0, 3.0]));
    assert_eq!(
        (&preprocess["interpolation"], &preprocess["resize_mode"]),
        (&json!("bilinear"), &json!("squash"))
    );
    let tensors = scene.run(&["inspect", "out", "--tensors", "--json"]).ended(0).json();
    let tensors = tensors["tensors"].as_array().expect("tensors").clone();
    let shape = |name: &str| tensors.iter().find(|tensor| tensor["name"] == name).map(|t| t["shape"].clone());
    assert_eq!(shape("visual.positional_embedding"), Some(json!([65, 128])));
    assert_eq!(shape("positional_embedding"), Some(json!([24, 64])));
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let scene = Scene::new();
    export(&scene, "again", &["--threads", "1"]);
    assert_eq!(names(&scene.path("again")), names(exported()));
    for name in names(exported()) {
        let [one, two] =
            [scene.path("again"), exported().to_path_buf()].map(|folder| std::fs::read(folder.join(&name)));
        assert!(one.expect("a file") == two.expect("a file"), "{name} differs");
    }
}

#[test]
fn what_is_there_is_replaced_by_force_only() {
    let scene = Scene::new();
    scene.copy_exported("out");
    check_refused(&scene, "export-exists", &[&EMOJI[..], &["--out", "out"]].concat());
    export(&scene, "out", &["--force", "--tower", "image"]);
    assert!(!scene.path("out/tokenizer.json").exists());
    assert_eq!(names(&scene.path("")), BTreeSet::from(["out".to_owned()]));
    assert_eq!(json_file(&scene.path("out/clipway.json"))["model"]["towers"], "image");

    std::fs::create_dir(scene.path("mine")).expect("a folder");
    scene.write("mine/notes.txt", "not an artifact");
    check_refused(&scene, "export-not-an-artifact", &[&EMOJI[..], &["--out", "mine", "--force"]].concat());
}

#[test]
fn an_input_is_never_written_over() {
    let scene = Scene::new();
    scene.copy_exported("own");
    check_refused(&scene, "export-over-input", &["export", "own", "--out", "own", "--force"]);
    let file = "own/open_clip_model.safetensors";
    check_refused(&scene, "export-over-folder-of-input", &["export", file, "--out", "own", "--force"]);
}
