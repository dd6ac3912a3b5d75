//! Refused sources and configs: nothing is written, and the message says what is wrong.

use crate::scene::{Scene, emoji};
use crate::snapshot::check_refused;

/// Exports `source` with a `--model` option, which must be refused.
#[track_caller]
fn check(scene: &Scene, name: &str, source: &str, model: &str) {
    check_refused(scene, &format!("bad-{name}"), &["export", source, "--model", model, "--out", "out"]);
}

#[test]
fn files_that_are_no_checkpoints() {
    let scene = Scene::new();
    let model = std::fs::read(emoji().join("emoji-clip.pt")).expect("the checkpoint");
    let weights =
        std::fs::read(crate::scene::exported().join("open_clip_model.safetensors")).expect("weights");
    scene.write("cut.pt", &model[..model.len() / 2]).write("empty.pt", "").write("text.pt", "hello, world\n");
    scene.write("cut.safetensors", &weights[..weights.len() / 2]).write("empty.safetensors", "");
    std::fs::create_dir(scene.path("folder")).expect("a folder");
    for (name, source) in [
        ("missing", "nowhere.pt"),
        ("empty-pt", "empty.pt"),
        ("text-pt", "text.pt"),
        ("cut-pt", "cut.pt"),
        ("empty-safetensors", "empty.safetensors"),
        ("cut-safetensors", "cut.safetensors"),
        ("folder-without-weights", "folder"),
    ] {
        check(&scene, name, source, "EMOJI/emoji-clip.json");
        check_refused(&scene, &format!("inspect-{name}"), &["inspect", source]);
    }
}

#[test]
fn configs_that_are_refused() {
    let scene = Scene::new();
    let config = std::fs::read_to_string(emoji().join("emoji-clip.json")).expect("the config");
    for (name, from, to) in [
        ("unknown-key", r#""embed_dim""#, r#""embed_dmi""#),
        ("unknown-vision-key", r#""patch_size""#, r#""pach_size""#),
        ("heads-do-not-divide", r#""heads": 2"#, r#""heads": 3"#),
        ("head-width-does-not-divide", r#""head_width": 32"#, r#""head_width": 48"#),
        ("patch-larger-than-image", r#""patch_size": 8"#, r#""patch_size": 64"#),
        ("negative", r#""layers": 6"#, r#""layers": -6"#),
        ("wrong-type", r#""layers": 6"#, r#""layers": "six""#),
        ("huge", r#""width": 128"#, r#""width": 4611686018427387904"#),
        ("not-json", "{", "["),
    ] {
        assert!(config.contains(from), "{name}");
        scene.write("model.json", config.replacen(from, to, 1));
        check(&scene, &format!("config-{name}"), "EMOJI/emoji-clip.pt", "model.json");
    }
    check(&scene, "config-missing", "EMOJI/emoji-clip.pt", "nowhere.json");
    check(&scene, "unknown-model", "EMOJI/emoji-clip.pt", "ViT-B-33");
}

#[test]
fn options_that_do_not_fit_the_model() {
    let scene = Scene::new();
    let export = ["export", "EMOJI/emoji-clip.pt", "--model", "EMOJI/emoji-clip.json", "--out", "out"];
    scene.write("latin1.txt", b"caf\xe9\n");
    std::fs::create_dir(scene.path("pictures")).expect("a folder");
    scene.write("pictures/a.png", "not an image");
    for (name, options) in [
        ("image-size", &["--image-size", "4"][..]),
        ("context-length", &["--context-length", "0"]),
        ("image-std", &["--image-std", "1", "0", "1"]),
        ("weights-ema", &["--weights", "ema"]),
        ("texts", &["--texts", "latin1.txt"]),
        ("images", &["--images", "pictures"]),
        ("out-below-a-file", &["--out", "latin1.txt/out"]),
    ] {
        let export = if options[0] == "--out" { &export[..4] } else { &export[..] };
        check_refused(&scene, &format!("option-{name}"), &[export, options].concat());
    }
}

#[test]
fn what_is_no_path_is_explained() {
    let scene = Scene::new();
    for (name, source) in [("address", "https://example.org/model.pt"), ("architecture-name", "ViT-B-32")] {
        check_refused(&scene, name, &["inspect", source]);
    }
}
