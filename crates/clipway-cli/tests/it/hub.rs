//! Sources on the Hub, against a fake hub.

#[path = "../../../clipway-hub/tests/fake/mod.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
pub mod fake;

use std::process::Command;

use fake::{Fake, TOKEN};

use crate::scene::{Outcome, Scene, exported};

/// A fake hub with the exported demo model, and a place for the cache.
pub fn hub() -> (Fake, Scene) {
    let fake = Fake::start();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(exported()).unwrap() {
        let path = entry.unwrap().path();
        files.push((path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()));
    }
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
    fake.commit("me/emoji", &files);
    (fake, Scene::new())
}

pub fn run(fake: &Fake, scene: &Scene, arguments: &[&str]) -> Outcome {
    let mut command: Command = scene.command(arguments);
    command.env("HF_ENDPOINT", fake.endpoint()).env("HF_HOME", scene.path("hf")).env("HF_TOKEN", TOKEN);
    for name in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
        command.env_remove(name);
    }
    let outcome = Outcome::of(command.output().unwrap());
    assert!(!outcome.stdout.contains(TOKEN) && !outcome.stderr.contains(TOKEN), "{outcome:?}");
    outcome
}

#[test]
fn a_pulled_folder_is_the_one_that_was_published() {
    let (fake, scene) = hub();
    run(&fake, &scene, &["pull", "me/emoji", "--out", "model"]).ended(0);
    for entry in std::fs::read_dir(exported()).unwrap() {
        let path = entry.unwrap().path();
        let pulled = std::fs::read(scene.path("model").join(path.file_name().unwrap())).unwrap();
        assert!(pulled == std::fs::read(&path).unwrap(), "{}", path.display());
    }
    run(&fake, &scene, &["verify", "model"]).ended(0);
    assert_eq!(run(&fake, &scene, &["pull", "me/emoji", "--out", "model"]).code, Some(1));
}

#[test]
fn sources_on_the_hub_are_read_by_commands_and_stay_readable_offline() {
    let (fake, scene) = hub();
    let embed = ["embed", "hf-hub:me/emoji", "--text", "a lion"];
    let online = run(&fake, &scene, &embed).ended(0);
    assert_eq!(online.stdout, scene.run(&["embed", "EXPORTED", "--text", "a lion"]).ended(0).stdout);
    let inspected = run(&fake, &scene, &["inspect", "hf://me/emoji", "--json"]).ended(0).json();
    assert!(inspected["contract"].is_object());
    run(&fake, &scene, &["verify", "hf-hub:me/emoji"]).ended(0);
    run(&fake, &scene, &["verify", "hf-hub:me/emoji", "--against", "EXPORTED"]).ended(0);
    fake.calm();
    let offline = run(&fake, &scene, &["embed", "hf-hub:me/emoji", "--text", "a lion", "--offline"]).ended(0);
    assert_eq!(offline.stdout, online.stdout);
    assert_eq!(fake.count(""), 0, "offline, nothing is asked");
    let listed = run(&fake, &scene, &["cache", "list", "--json"]).ended(0).json();
    assert_eq!(listed[0]["repository"], "me/emoji");
    run(&fake, &scene, &["cache", "verify"]).ended(0);
    let blobs = scene.path("hf/hub/models--me--emoji/blobs");
    let largest = std::fs::read_dir(&blobs).unwrap().map(|entry| entry.unwrap().path());
    let largest = largest.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&largest).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&largest, bytes).unwrap();
    run(&fake, &scene, &["cache", "verify"]).ended(1);
    let failed = run(&fake, &scene, &["embed", "hf-hub:me/emoji", "--text", "a lion", "--offline"]);
    assert!(failed.stderr.contains("[hub-partial]"), "{failed:?}");
    run(&fake, &scene, &["cache", "clean"]).ended(0);
    run(&fake, &scene, &["cache", "verify"]).ended(0);
    assert_eq!(run(&fake, &scene, &embed).ended(0).stdout, online.stdout);
}

#[test]
fn refusals_have_codes_and_hints() {
    let (fake, scene) = hub();
    let check = |arguments: &[&str], code: &str| {
        let outcome = run(&fake, &scene, arguments);
        assert!(outcome.code != Some(0) && outcome.stderr.contains(&format!("[{code}]")), "{outcome:?}");
    };
    check(&["inspect", "hf-hub:me/none"], "hub-no-repo");
    check(&["inspect", "hf-hub:me/emoji@none"], "hub-no-revision");
    check(&["inspect", "hf-hub:me/../x"], "hub-bad-name");
    check(&["inspect", "hf://me/emoji/none.bin"], "hub-no-file");
    check(&["pull", "me/other", "--offline"], "hub-offline");
    check(&["pull", "ViT-B-32:none"], "bad-option");
    check(&["pull", "ViT-B-32:laion2b_s34b_b79k"], "hub-no-repo");
}

#[test]
fn the_tag_of_an_architecture_names_its_repository() {
    let (fake, scene) = hub();
    fake.commit(
        "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        &[
            ("README.md", b"# hello"),
            ("open_clip_config.json", b"{}"),
            ("open_clip_model.safetensors", b"safe"),
            ("open_clip_pytorch_model.bin", b"pickle"),
            ("tf_model.h5", b"other"),
        ],
    );
    let pulled = run(&fake, &scene, &["pull", "ViT-B-32:laion2b_s34b_b79k", "--json"]).ended(0).json();
    let files: Vec<&str> =
        pulled["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(files, ["README.md", "open_clip_config.json", "open_clip_model.safetensors"]);
}
