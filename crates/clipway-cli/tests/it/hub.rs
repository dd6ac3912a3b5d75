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
    run_with(fake, scene, arguments, &[])
}

/// Runs with further variables; an empty one is not set.
fn run_with(fake: &Fake, scene: &Scene, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let mut command: Command = scene.command(arguments);
    command.env("HF_ENDPOINT", fake.endpoint()).env("HF_HOME", scene.path("hf")).env("HF_TOKEN", TOKEN);
    for name in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
        command.env_remove(name);
    }
    for (name, value) in variables {
        if value.is_empty() {
            command.env_remove(name)
        } else {
            command.env(name, value)
        };
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
    check(&["pull", "ViT-B-32:none"], "unknown-tag");
    check(&["inspect", "--model", "ViT-B-32", "--pretrained", "none"], "unknown-tag");
    check(&["inspect", "--model", "Nothing", "--pretrained", "openai"], "unknown-model");
    check(&["inspect", "x.pt", "--model", "ViT-B-32", "--pretrained", "openai"], "bad-option");
    check(&["embed", "--model", "ViT-B-32", "--pretrained", "openai"], "bad-option");
    check(&["mix", "a", "b", "--model", "ViT-B-32", "--pretrained", "openai", "--out", "o"], "bad-option");
    check(&["verify", "EXPORTED", "--blocks"], "bad-option");
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

/// Bytes of a file that were sent.
fn sent(fake: &Fake, file: &[u8]) -> usize {
    let object = format!("/object/{}", fake::sha256(file));
    fake.state().seen.iter().filter(|seen| seen.line.contains(&object)).map(|seen| seen.sent).sum()
}

#[test]
fn an_inspected_repository_keeps_its_weights() {
    let (fake, scene) = hub();
    let pickle = std::fs::read(crate::scene::emoji().join("emoji-clip.pt")).unwrap();
    fake.commit("me/pickle", &[("emoji-clip.pt", &pickle)]);
    let weights = std::fs::read(exported().join("open_clip_model.safetensors")).unwrap();
    // The tables of names, shapes and settings must be those of the whole files.
    let check = |distant: &[&str], local: &[&str], file: &[u8], most: usize| {
        fake.calm();
        let seen = run(&fake, &scene, distant).ended(0).json();
        let expected = scene.run(local).ended(0).json();
        for key in ["format", "weights", "tensors", "models", "contract", "problems", "globals"] {
            assert_eq!(seen[key], expected[key], "{key}");
        }
        let sent = sent(&fake, file);
        assert!(
            sent > 0 && sent <= most && most < file.len() / 20,
            "{sent} of {} bytes were sent",
            file.len()
        );
    };
    let options = ["--tensors", "--json"];
    let distant = [&["inspect", "hf-hub:me/emoji"], &options[..]].concat();
    check(&distant, &[&["inspect", "EXPORTED"], &options[..]].concat(), &weights, 64 << 10);
    let options = ["--model", "EMOJI/emoji-clip.json", "--tensors", "--json"];
    let distant = [&["inspect", "hf://me/pickle/emoji-clip.pt"], &options[..]].concat();
    check(&distant, &[&["inspect", "EMOJI/emoji-clip.pt"], &options[..]].concat(), &pickle, 900 << 10);
    let blobs = |repo: &str| std::fs::read_dir(scene.path(&format!("hf/hub/models--me--{repo}/blobs")));
    assert!(blobs("pickle").is_err());
    let largest =
        || blobs("emoji").unwrap().map(|blob| blob.unwrap().metadata().unwrap().len()).max().unwrap();
    assert!(largest() < weights.len() as u64);
    // What reads the weights fetches them, and then they are read from the cache.
    run(&fake, &scene, &["inspect", "hf-hub:me/emoji", "--stats"]).ended(0);
    assert_eq!(largest(), weights.len() as u64);
    fake.calm();
    run(&fake, &scene, &["inspect", "hf-hub:me/emoji"]).ended(0);
    assert_eq!(sent(&fake, &weights), 0);
}

#[test]
fn a_failure_while_a_header_is_read_has_its_own_code() {
    let (fake, scene) = hub();
    fake.fail("/object/", 0, usize::MAX, fake::Fault::Reset);
    let failed = run(&fake, &scene, &["inspect", "hf-hub:me/emoji", "--json"]).ended(2);
    assert_eq!(failed.json()["error"]["code"], "hub-unreachable", "{failed:?}");
}

#[test]
fn a_tag_is_a_source_of_every_command() {
    let (fake, scene) = hub();
    let weights = std::fs::read(exported().join("open_clip_model.safetensors")).unwrap();
    let config = std::fs::read(exported().join("open_clip_config.json")).unwrap();
    for repo in ["timm/vit_base_patch32_clip_224.openai", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"] {
        fake.commit(repo, &[("open_clip_model.safetensors", &weights), ("open_clip_config.json", &config)]);
    }
    // The weights are the demo model's, so each command refuses them as those of the named architecture.
    let named = ["--model", "ViT-B-32", "--pretrained", "openai"];
    let word = ["ViT-B-32:LAION2B-s34b-b79k"];
    scene.write("a.png", b"");
    for source in [&named[..], &word[..]] {
        for (command, rest) in [
            ("export", &["--out", "made"][..]),
            ("embed", &["--text", "a lion"]),
            ("classify", &["a.png", "--labels", "a,b"]),
            ("verify", &["EXPORTED"]),
        ] {
            let against: &[&str] =
                if command == "verify" && source.len() == 1 { &["--against"] } else { &[] };
            let rest_first = command == "verify";
            let mut arguments = vec![command];
            if rest_first {
                arguments.extend(rest)
            }
            arguments.extend(against);
            arguments.extend(source);
            if !rest_first {
                arguments.extend(rest)
            }
            let failed = run(&fake, &scene, &arguments).ended(1);
            assert!(failed.stderr.contains("does not match `ViT-B-32`"), "{arguments:?} {failed:?}");
        }
        let inspected = run(&fake, &scene, &[&["inspect"], source].concat()).ended(0);
        assert!(inspected.stdout.contains("does not match `ViT-B-32`"), "{inspected:?}");
        let checked = run(&fake, &scene, &[&["check"], source].concat()).ended(1);
        assert!(checked.stdout.contains("ViT-B-32"), "{checked:?}");
    }
    let mix = ["mix", "ViT-B-32:openai:0.5", "EXPORTED:0.5", "--out", "mixed"];
    let failed = run(&fake, &scene, &mix).ended(1);
    assert!(failed.stderr.contains("does not match `ViT-B-32`"), "{failed:?}");
}

#[test]
fn every_kind_of_bad_input_has_its_code_and_hint() {
    let (fake, scene) = hub();
    let check = |code: &str, arguments: &[&str], variables: &[(&str, &str)]| {
        let outcome = run_with(&fake, &scene, &[arguments, &["--json"]].concat(), variables);
        let error = &outcome.json()["error"];
        assert_eq!(error["code"], code, "{outcome:?}");
        assert!(error["hint"].as_str().is_some_and(|hint| hint.len() > 10), "{outcome:?}");
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        error["message"].as_str().unwrap().to_owned()
    };
    let model = ["embed", "hf-hub:me/emoji", "--text", "a"];
    let set = |change: &dyn Fn(&mut fake::Repository)| {
        change(fake.state().repositories.get_mut("me/emoji").unwrap());
    };
    check("hub-no-repo", &["pull", "me/none"], &[]);
    set(&|repository| repository.is_private = true);
    let private = check("hub-no-repo", &model, &[("HF_TOKEN", "")]);
    assert!(private.contains("is private and needs a token"), "{private}");
    set(&|repository| (repository.is_private, repository.is_gated) = (false, true));
    let gated = check("hub-gated", &model, &[]);
    assert!(gated.contains(&format!("{}/me/emoji", fake.endpoint())), "{gated}");
    set(&|repository| (repository.is_gated, repository.is_disabled) = (false, true));
    check("hub-disabled", &model, &[]);
    set(&|repository| repository.is_disabled = false);
    check("hub-bad-token", &model, &[("HF_TOKEN", "hf_anotherToken")]);
    check("hub-bad-token", &model, &[("HF_TOKEN", "two words")]);
    check("hub-no-revision", &["pull", "me/emoji", "--revision", "v9"], &[]);
    check("hub-no-file", &["pull", "hf://me/emoji/other.safetensors"], &[]);
    check("hub-bad-name", &["pull", "me/emoji/x"], &[]);
    check("hub-offline", &["pull", "me/never-pulled"], &[("HF_HUB_OFFLINE", "1")]);
    check("hub-unreachable", &model, &[("HF_ENDPOINT", "http://127.0.0.1:9")]);
    let start = std::time::Instant::now();
    fake.fail("/revision/", 0, 1, fake::Fault::Hang(60_000));
    check("hub-timeout", &model, &[("HF_HUB_DOWNLOAD_TIMEOUT", "2")]);
    let silent = start.elapsed().as_secs_f64();
    assert!((2.0..6.0).contains(&silent), "{silent} s");
    // A server that stops within a file, and then sends nothing, is asked once more.
    fake.calm();
    fake.fail("/object/", 0, 1, fake::Fault::Stall(500, 60_000));
    fake.fail("/object/", 0, usize::MAX, fake::Fault::Stall(0, 60_000));
    check("hub-timeout", &model, &[("HF_HUB_DOWNLOAD_TIMEOUT", "2")]);
    fake.calm();
    // What is missing of a snapshot is named, file by file.
    run(&fake, &scene, &model).ended(0);
    let folder = scene.path("hf/hub/models--me--emoji");
    let snapshot = std::fs::read_dir(folder.join("snapshots")).unwrap().next().unwrap().unwrap().path();
    let missing = ["open_clip_config.json", "open_clip_model.safetensors"];
    for name in missing {
        std::fs::remove_file(snapshot.join(name).canonicalize().unwrap()).unwrap();
    }
    let partial = check("hub-partial", &model, &[("HF_HUB_OFFLINE", "1")]);
    assert!(
        partial.ends_with("missing: `open_clip_config.json`, `open_clip_model.safetensors`"),
        "{partial}"
    );
}
