//! Weights that must not become an artifact.

use crate::scene::Scene;
use crate::snapshot::check_refused;
use crate::tensors::Tensors;

const EXPORT: [&str; 6] = ["export", "w.safetensors", "--model", "EMOJI/emoji-clip.json", "--out", "out"];

#[test]
fn values_out_of_range_stop_an_fp16_export() {
    let scene = Scene::new();
    let tensors = Tensors::emoji().set("visual.proj", 5, 1e6).set("visual.proj", 6, -1e6);
    tensors.write(&scene.path("w.safetensors"));
    check_refused(&scene, "overflow-fp16", &[&EXPORT[..], &["--precision", "fp16"]].concat());
    let hinted = [&EXPORT[..], &["--precision", "bf16", "--no-verify"]].concat();
    assert!(scene.run(&hinted).ended(0).stdout.contains("NOT verified"));
    let several = Tensors::emoji().fill("visual.ln_post.weight", 70_000.0).set("text_projection", 0, 1e5);
    several.write(&scene.path("w.safetensors"));
    let again = ["--precision", "fp16", "--force"];
    check_refused(&scene, "overflow-several", &[&EXPORT[..], &again].concat());
}

#[test]
fn features_that_are_no_numbers_or_constant_fail_verification() {
    let scene = Scene::new();
    for (name, tensors) in [
        ("nan", Tensors::emoji().set("visual.proj", 0, f32::NAN)),
        ("infinite", Tensors::emoji().set("text_projection", 0, f32::INFINITY)),
        ("constant-image", Tensors::emoji().fill("visual.ln_post.weight", 0.0)),
        ("constant-text", Tensors::emoji().fill("ln_final.weight", 0.0)),
        ("zero", Tensors::emoji().fill("visual.proj", 0.0)),
    ] {
        tensors.write(&scene.path("w.safetensors"));
        check_refused(&scene, &format!("weights-{name}"), &EXPORT);
    }
}

#[test]
fn features_that_are_no_numbers_are_no_success() {
    let scene = Scene::new();
    let check = |tensor: &str, arguments: &[&str], input: &str| {
        Tensors::emoji().set(tensor, 0, f32::NAN).write(&scene.path("w.safetensors"));
        let model = ["--model", "EMOJI/emoji-clip.json"];
        let outcome = scene.run(&[arguments, &model[..]].concat()).ended(1);
        let expected = format!("error: {input}: value 0 of its feature is NaN [not-finite]");
        let first = outcome.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        assert_eq!(scene.normalized(first), expected, "{outcome:?}");
        assert!(outcome.stdout.is_empty(), "{outcome:?}");
    };
    // An unreadable image does not shift the name in the message.
    let images = ["embed", "w.safetensors", "nowhere.png", "EMOJI/pictures/avocado.png"];
    check("visual.proj", &images, "`EMOJI/pictures/avocado.png`");
    check("text_projection", &["embed", "w.safetensors", "--text", "a cat"], "text `a cat`");
    let out = ["embed", "w.safetensors", "--text", "a cat", "--out", "f.safetensors"];
    check("text_projection", &out, "text `a cat`");
    assert!(!scene.path("f.safetensors").exists());
    let classify = ["classify", "w.safetensors", "EMOJI/pictures/avocado.png", "--labels", "cat,dog"];
    check("text_projection", &classify, "text `a photo of a cat`");
}
