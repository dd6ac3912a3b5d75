//! Which model weights belong to: requested if it cannot be inferred, and checked if it is given.

use crate::scene::Scene;
use crate::snapshot::check_refused;
use crate::tensors::{Tensors, write_zeros};

#[test]
fn weights_that_fit_several_models_ask_which() {
    let scene = Scene::new();
    write_zeros(&scene.path("vit.safetensors"), "ViT-B-32");
    check_refused(&scene, "which-model", &["export", "vit.safetensors", "--out", "out"]);
    Tensors::emoji().write(&scene.path("emoji.safetensors"));
    check_refused(&scene, "which-config", &["export", "emoji.safetensors", "--out", "out"]);
    let dry = scene.run(&["export", "vit.safetensors", "--model", "ViT-B-32", "--dry-run", "--json"]);
    assert_eq!(dry.ended(0).json()["ledger"]["written_tensors"], 302);
}

#[test]
fn a_wrong_model_lists_all_that_differs_and_names_those_that_fit() {
    let scene = Scene::new();
    write_zeros(&scene.path("vit.safetensors"), "ViT-S-32-alt");
    let export = ["export", "vit.safetensors", "--out", "out", "--model"];
    check_refused(&scene, "wrong-model", &[&export[..], &["ViT-S-32"]].concat());
    check_refused(&scene, "wrong-family", &[&export[..], &["RN50"]].concat());
    // In JSON, every tensor is reported separately.
    let error = &scene.run(&[&export[..], &["ViT-S-32", "--json"]].concat()).ended(1).json()["error"];
    let differences = error["differences"].as_array().expect("a list");
    let of_kind = |kind: &str| differences.iter().filter(|one| one["kind"] == kind).count();
    assert_eq!((of_kind("shape"), of_kind("missing"), of_kind("unused")), (126, 24, 0));
    let proj = serde_json::json!({"kind": "shape", "name": "visual.proj", "expected": [384, 384], "found": [384, 256]});
    assert!(differences.contains(&proj), "{error}");
    assert!(error.get("left_out").is_none() && error.get("problems").is_none());
}

#[test]
fn missing_left_over_and_wrong_tensors_are_told_together() {
    let scene = Scene::new();
    let model = ["--model", "EMOJI/emoji-clip.json", "--out", "out"];
    let tensors = Tensors::emoji().without("visual.ln_post.weight").with("visual.ln_post.wieght", &[128]);
    let tensors = tensors.without("transformer.resblocks.2.mlp.c_fc.bias").with("surplus", &[2, 3]);
    tensors.reshaped("visual.proj", &[64, 256]).write(&scene.path("odd.safetensors"));
    check_refused(&scene, "tensors-differ", &[&["export", "odd.safetensors"][..], &model].concat());
    let error =
        &scene.run(&[&["export", "odd.safetensors", "--json"][..], &model].concat()).ended(1).json()["error"];
    assert_eq!(
        error["differences"],
        serde_json::json!([
            {"kind": "shape", "name": "visual.proj", "expected": [128, 128], "found": [64, 256]},
            {"kind": "missing", "name": "visual.ln_post.weight", "shape": [128], "nearest": "visual.ln_post.wieght"},
            {"kind": "missing", "name": "transformer.resblocks.2.mlp.c_fc.bias", "shape": [256], "nearest": null},
            {"kind": "unused", "name": "visual.ln_post.wieght", "shape": [128], "nearest": "visual.ln_post.weight"},
            {"kind": "unused", "name": "surplus", "shape": [2, 3], "nearest": null},
        ])
    );
    // The same goes for everything that a target cannot express.
    let target = ["export", "EMOJI/emoji-clip.pt", "--to", "openai", "--json"];
    let error = &scene.run(&[&target[..], &model].concat()).ended(1).json()["error"];
    let problems = error["problems"].as_array().expect("a list");
    assert!(
        problems.len() > 1
            && error["message"].as_str().is_some_and(|message| {
                problems.iter().all(|problem| message.contains(problem.as_str().expect("a text")))
            }),
        "{error}"
    );
}
