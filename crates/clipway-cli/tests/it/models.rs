//! `clipway models`.

use crate::scene::Scene;
use crate::snapshot::{check, check_refused};

#[test]
fn the_registry_has_144_models() {
    let scene = Scene::new();
    let text = scene.run(&["models"]).ended(0).stdout;
    assert_eq!(text.lines().count(), 1 + 144, "{text}");
    let rows = scene.run(&["models", "--json"]).ended(0).json();
    let rows = rows.as_array().expect("rows");
    assert_eq!(rows.len(), 144);
    let row = rows.iter().find(|row| row["name"] == "ViT-B-32").expect("ViT-B-32");
    assert_eq!((&row["parameters"], &row["embed_dim"]), (&151_277_313.into(), &512.into()));
    assert_eq!((&row["bytes"]["fp32"], &row["bytes"]["fp16"]), (&605_109_252.into(), &302_554_626.into()));
    assert!(
        row["pretrained"].as_array().is_some_and(|tags| tags.iter().any(|tag| tag == "laion2b_s34b_b79k"))
    );
}

#[test]
fn patterns_list_and_names_show() {
    let scene = Scene::new();
    for (name, pattern) in
        [("models-part", "rn50x"), ("models-star", "*-32-alt"), ("models-name", "ViT-B-32")]
    {
        check(&scene, name, &["models", pattern]);
    }
    check(&scene, "models-file", &["models", "EMOJI/emoji-clip.json"]);
    let shown = scene.run(&["models", "ViT-B-32", "--json"]).ended(0).json();
    assert_eq!(shown["model_cfg"]["vision_cfg"]["patch_size"], 32);
    assert_eq!(shown["preprocess_cfg"]["interpolation"], "bicubic");
}

#[test]
fn unknown_names_are_refused() {
    let scene = Scene::new();
    scene.write("broken.json", "{");
    for (name, pattern) in
        [("models-near", "ViT-B-33"), ("models-far", "zzzzzzzz"), ("models-broken-file", "broken.json")]
    {
        check_refused(&scene, name, &["models", pattern]);
    }
}
