//! Which model weights are of: asked for where it cannot be known, and checked where it is said.

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
}

#[test]
fn missing_left_over_and_wrong_tensors_are_told_together() {
    let scene = Scene::new();
    let model = ["--model", "EMOJI/emoji-clip.json", "--out", "out"];
    let tensors = Tensors::emoji().without("visual.ln_post.weight").with("visual.ln_post.wieght", &[128]);
    let tensors = tensors.without("transformer.resblocks.2.mlp.c_fc.bias").with("surplus", &[2, 3]);
    tensors.reshaped("visual.proj", &[64, 256]).write(&scene.path("odd.safetensors"));
    check_refused(&scene, "tensors-differ", &[&["export", "odd.safetensors"][..], &model].concat());
}
