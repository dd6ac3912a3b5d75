//! `clipway inspect`.

use crate::scene::Scene;
use crate::snapshot::check;
use crate::tensors::{Tensors, write_zeros};

#[test]
fn sources_are_described() {
    let scene = Scene::new();
    write_zeros(&scene.path("rn50.safetensors"), "RN50");
    for (name, arguments) in [
        ("inspect-checkpoint", &["inspect", "EMOJI/emoji-clip.pt"][..]),
        ("inspect-tensors", &["inspect", "EMOJI/emoji-clip.pt", "--tensors"]),
        ("inspect-folder", &["inspect", "EXPORTED"]),
        ("inspect-registered", &["inspect", "rn50.safetensors"]),
    ] {
        assert_eq!(check(&scene, name, arguments).code, Some(0));
    }
}

#[test]
fn a_graph_is_data_too() {
    let scene = Scene::new();
    let found = scene.run(&["inspect", "EXPORTED", "--graph", "--json"]).ended(0).json();
    let image = &found["towers"][0];
    assert_eq!(image["name"], "image");
    assert_eq!(image["nodes"][0]["operation"], "pixels");
    assert_eq!(image["nodes"][0]["shape"][0], "batch");
    assert_eq!(image["nodes"][1]["tensors"][0]["name"], "visual.conv1.weight");
    let last = image["nodes"].as_array().map_or(0, Vec::len) - 1;
    assert_eq!(image["output"], last);
    // A folder with one tower shows that tower, and a probe has nothing to compare.
    let arguments = ["export", "EMOJI/emoji-clip.pt", "--model", "EMOJI/emoji-clip.json", "--tower", "text"];
    scene.run(&[&arguments[..], &["--out", "text", "--no-verify"]].concat()).ended(0);
    let found = scene.run(&["inspect", "text", "--graph", "--json"]).ended(0).json();
    let names: Vec<_> =
        found["towers"].as_array().into_iter().flatten().map(|tower| &tower["name"]).collect();
    assert_eq!(names, ["text"]);
    let probed = scene.run(&["inspect", "text", "--probe"]).ended(0).stdout;
    assert!(probed.contains("not compared: the model has only one tower"), "{probed}");
    // A source without a config must be given a model.
    assert_eq!(scene.run(&["inspect", "EMOJI/emoji-clip.pt", "--graph"]).code, Some(2));
}

#[test]
fn json_has_the_facts() {
    let scene = Scene::new();
    let found = scene.run(&["inspect", "EMOJI/emoji-clip.pt", "--json", "--tensors"]).ended(0).json();
    assert_eq!(found["format"], "PyTorch zip");
    assert_eq!(found["weights"]["tensors"], 134);
    assert_eq!(found["weights"]["bytes"], 18_429_444);
    assert_eq!(found["weights"]["precision"], "fp32");
    assert_eq!(found["weights"]["path"][0], "state_dict");
    assert_eq!(found["tensors"].as_array().map(Vec::len), Some(134));
    assert_eq!(found["tensors"][0]["name"], "positional_embedding");
    assert_eq!(found["tensors"][0]["shape"], serde_json::json!([16, 64]));
}

#[test]
fn statistics_count_what_is_not_a_number_and_what_fp16_cannot_hold() {
    let scene = Scene::new();
    let tensors = Tensors::emoji().fill("visual.ln_pre.bias", 0.25);
    let tensors = tensors.set("visual.ln_pre.bias", 0, f32::NAN).set("visual.ln_pre.bias", 1, -f32::INFINITY);
    tensors.set("visual.ln_pre.bias", 2, 1e6).write(&scene.path("odd.safetensors"));
    let found = scene.run(&["inspect", "odd.safetensors", "--stats", "--json"]).ended(0).json();
    let rows = found["statistics"].as_array().expect("a row for each tensor");
    assert_eq!(rows.len(), 134);
    let row = rows.iter().find(|row| row["name"] == "visual.ln_pre.bias").expect("the tensor's row");
    for (field, expected) in [("nan", 1), ("infinite", 1), ("overflow_f16", 1)] {
        assert_eq!(row[field], expected, "{field}");
    }
    let text = scene.run(&["inspect", "odd.safetensors", "--stats"]).ended(0).stdout;
    assert!(text.lines().any(|line| line.contains("over fp16")), "{text}");
}
