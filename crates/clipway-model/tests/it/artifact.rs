//! `clipway.json`: what is read, what is refused, and what its hashes detect.

use std::fs;
use std::path::Path;

use clipway_model::artifact::Artifact;
use clipway_model::checkpoint::Checkpoint;
use clipway_model::plan::Towers;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::bench::Bench;

/// Changes a folder's `clipway.json` and updates its digest, as if it had been written that way.
fn change(folder: &Path, change: impl FnOnce(&mut Value)) {
    let path = folder.join("clipway.json");
    let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    value.as_object_mut().unwrap().shift_remove("digest");
    change(&mut value);
    value.sort_all_objects();
    let digest = Sha256::digest(value.to_string());
    value["digest"] = digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
    fs::write(path, value.to_string()).unwrap();
}

fn exported() -> Bench {
    let bench = Bench::new();
    bench.export(&bench.options()).unwrap();
    bench
}

#[test]
fn a_wrong_artifact_is_refused_with_its_place() {
    let bench = exported();
    let folder = bench.target();
    let right = fs::read(folder.join("clipway.json")).unwrap();
    let check = |wrong: &dyn Fn(&mut Value), code: &str, expected: &str| {
        change(&folder, wrong);
        let error = Artifact::check_hashes(&folder).unwrap_err();
        let text = format!("{error} [{}]", error.code()).replace(&format!("{}/", folder.display()), "");
        assert_eq!((error.code(), text.as_str()), (code, expected));
        fs::write(folder.join("clipway.json"), &right).unwrap();
    };
    check(
        &|value| value["artifact_version"] = json!(4),
        "unsupported",
        "`clipway.json`: `$.artifact_version`: version 4; this version of clipway reads 3 [unsupported]",
    );
    check(
        &|value| value["model"]["towers"] = json!("image and\u{1b}text"),
        "malformed",
        "`clipway.json`: `$`: unknown variant 'image and\\u{1b}text', expected one of 'both', 'image', 'text' \
         [malformed]",
    );
    check(
        &|value| drop(value.as_object_mut().unwrap().remove("tensors")),
        "malformed",
        "`clipway.json`: `$`: missing field 'tensors' [malformed]",
    );
    // A name in the artifact must not lead out of its folder.
    for name in ["../tiny.safetensors", "/etc/passwd", "a/../b", "..", "a\\b", "C:a"] {
        let expected =
            format!("`clipway.json`: `$.files`: `{name}` is not a file name inside the folder [path-escape]");
        let hash = json!({ "bytes": 1, "sha256": "00" });
        check(&|value| value["files"][name] = hash.clone(), "path-escape", &expected);
        check(&|value| value["weights"]["safetensors"] = json!([name]), "path-escape", &expected);
    }
    check(
        &|value| value["surprise"] = json!(1),
        "unknown-key",
        "`clipway.json`: `$`: unknown field 'surprise', expected one of 'artifact_version', 'tool_version', 't… \
         [unknown-key]",
    );
    for (text, code) in [
        ("{".to_owned(), "truncated"),
        ("[]".to_owned(), "malformed"),
        // With a duplicate key, a reader could take another value than the hashed one.
        (String::from_utf8(right.clone()).unwrap().replacen('{', r#"{"notes": [],"#, 1), "duplicate"),
        (String::from_utf8(right.clone()).unwrap().replace("\"bytes\": ", "\"bytes\": 1"), "checksum"),
        (format!(r#"{{"ledger": [{}[]]}}"#, "[],".repeat(400_000)), "too-large"),
    ] {
        fs::write(folder.join("clipway.json"), text).unwrap();
        assert_eq!(Artifact::read(&folder).unwrap_err().code(), code);
    }
    let mut value: Value = serde_json::from_slice(&right).unwrap();
    value.as_object_mut().unwrap().remove("digest");
    fs::write(folder.join("clipway.json"), value.to_string()).unwrap();
    assert_eq!(Artifact::read(&folder).unwrap_err().code(), "missing");
    fs::remove_file(folder.join("clipway.json")).unwrap();
    assert_eq!(Artifact::read(&folder).unwrap_err().code(), "io");
    assert_eq!(Artifact::find(&folder).unwrap(), None);
}

#[test]
fn towers_are_what_the_artifact_says() {
    let bench = exported();
    assert_eq!(Artifact::read(&bench.target()).unwrap().model.towers, Towers::Both);
    change(&bench.target(), |value| value["model"]["towers"] = json!("text"));
    assert_eq!(Artifact::read(&bench.target()).unwrap().model.towers, Towers::Text);
}

#[test]
fn a_contract_of_another_shape_is_refused() {
    let bench = exported();
    let folder = bench.target();
    let right = fs::read(folder.join("clipway.json")).unwrap();
    let check = |wrong: &dyn Fn(&mut Value), expected: &str| {
        change(&folder, wrong);
        let error = Artifact::read(&folder).unwrap_err();
        assert_eq!(error.code(), expected, "{error}");
        fs::write(folder.join("clipway.json"), &right).unwrap();
    };
    check(&|value| value["more"] = json!(1), "unknown-key");
    check(&|value| value["contract"]["image"]["mean"] = json!([0.5, 0.5, 0.5]), "malformed");
    check(&|value| value["contract"]["image"]["mean"]["from"]["kind"] = json!("rumor"), "malformed");
    check(&|value| value["contract"]["text"]["pooling"]["value"] = json!("best"), "malformed");
    check(&|value| value["verification"] = json!({ "passed": true }), "malformed");
    check(&|value| value["ledger"] = json!(null), "malformed");
}

#[test]
fn tensors_that_are_missing_or_new_are_differences() {
    let bench = exported();
    let folder = bench.target();
    let hash = json!({ "dtype": "F32", "sha256": "00" });
    change(&folder, |value| {
        let tensors = value["tensors"].as_object_mut().unwrap();
        tensors.remove("visual.proj");
        tensors.insert("another".to_owned(), hash.clone());
        tensors["logit_scale"]["dtype"] = json!("F16");
    });
    let report = Artifact::check_hashes(&folder).unwrap();
    let name = "open_clip_model.safetensors";
    assert_eq!(
        report.differences,
        [
            format!("`{name}`: tensor `logit_scale` has changed"),
            format!("`{name}`: tensor `visual.proj` is not listed"),
            "tensor `another` is missing".to_owned(),
        ]
    );
    assert!(!report.is_right());
}

/// A folder holds exactly what its artifact lists: neither verifying nor loading accepts an extra file.
#[test]
fn a_folder_is_closed() {
    let check = |act: &dyn Fn(&Path), differences: &[&str], loading: Option<&str>| {
        let bench = exported();
        let folder = bench.target();
        act(&folder);
        let report = Artifact::check_hashes(&folder).unwrap();
        assert_eq!(report.differences, differences);
        assert_eq!(report.is_right(), differences.is_empty());
        let loaded = Checkpoint::open(&folder).err().map(|error| error.code());
        assert_eq!(loaded, loading, "{differences:?}");
    };
    let weights = "open_clip_model.safetensors";
    // Loading would prefer these weights, whatever `clipway.json` says.
    let elsewhere = |folder: &Path| {
        fs::rename(folder.join(weights), folder.join("model.safetensors")).unwrap();
        change(folder, |value| {
            let files = value["files"].as_object_mut().unwrap();
            let hash = files.shift_remove(weights).unwrap();
            files.insert("model.safetensors".to_owned(), hash);
            value["weights"]["safetensors"] = json!(["model.safetensors"]);
        });
    };
    let others = |folder: &Path| {
        elsewhere(folder);
        fs::copy(folder.join("model.safetensors"), folder.join(weights)).unwrap();
    };
    check(&others, &[&format!("`{weights}` is not listed")], Some("unlisted"));
    let note = |folder: &Path| fs::write(folder.join("note.txt"), "").unwrap();
    check(&note, &["`note.txt` is not listed"], None);
    // The Hub adds this file to every repository, and only at its top.
    let of_the_hub = |folder: &Path| fs::write(folder.join(".gitattributes"), "*.bin filter=lfs").unwrap();
    check(&of_the_hub, &[], None);
    let below = |folder: &Path| fs::create_dir(folder.join(".cache")).unwrap();
    check(&below, &["`.cache` is not listed"], None);
    let dropped = |folder: &Path| {
        change(folder, |value| {
            value["files"].as_object_mut().unwrap().shift_remove("open_clip_config.json");
        })
    };
    check(&dropped, &["`open_clip_config.json` is not listed"], Some("unlisted"));
    let unhashed = |folder: &Path| {
        change(folder, |value| {
            value["files"].as_object_mut().unwrap().shift_remove(weights);
        })
    };
    let lines =
        [format!("`{weights}` is listed as weights but has no hash"), format!("`{weights}` is not listed")];
    check(&unhashed, &[&lines[0], &lines[1]], None);
    let twice = |folder: &Path| change(folder, |value| value["weights"]["pytorch"] = json!([weights]));
    check(&twice, &[&format!("`{weights}` is listed twice as weights")], None);
    let gone = |folder: &Path| fs::remove_file(folder.join("README.md")).unwrap();
    check(&gone, &["`README.md` is missing"], None);
    // Comparing nothing is a failure.
    let nothing = |folder: &Path| change(folder, |value| value["weights"] = json!({}));
    check(&nothing, &[&format!("`{weights}` is not listed as weights"), "no weights are listed"], None);
}
