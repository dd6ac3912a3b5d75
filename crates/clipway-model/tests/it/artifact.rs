//! `clipway.json`: what is read, what is refused, and what its hashes find.

use std::fs;
use std::path::Path;

use clipway_model::artifact::Artifact;
use clipway_model::plan::Tower;
use serde_json::{Value, json};

use crate::bench::Bench;

/// Changes the `clipway.json` of a folder.
fn change(folder: &Path, change: impl FnOnce(&mut Value)) {
    let path = folder.join("clipway.json");
    let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut value);
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
        let text = error.to_string().replace(&format!("{}/", folder.display()), "");
        assert_eq!((error.code(), text.as_str()), (code, expected));
        fs::write(folder.join("clipway.json"), &right).unwrap();
    };
    check(
        &|value| value["artifact_version"] = json!(2),
        "unsupported",
        "`clipway.json`: `$.artifact_version`: version 2, this tool reads version 1 [unsupported]",
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
    // A name in the artifact does not lead out of its folder.
    for name in ["../tiny.safetensors", "/etc/passwd", "a/b", "..", "a\\b", "C:a"] {
        let expected = format!(
            "`clipway.json`: `$.files`: `{name}` is not the name of a file in the folder [path-escape]"
        );
        let hash = json!({ "bytes": 1, "sha256": "00" });
        check(&|value| value["files"][name] = hash.clone(), "path-escape", &expected);
        check(&|value| value["weights"]["safetensors"] = json!([name]), "path-escape", &expected);
    }
    check(
        &|value| value["weights"]["safetensors"] = json!(["none.safetensors"]),
        "io",
        "cannot read `none.safetensors`: No such file or directory (os error 2)",
    );
    fs::write(folder.join("clipway.json"), "{").unwrap();
    let error = Artifact::read(&folder).unwrap_err();
    assert_eq!(error.code(), "malformed");
    fs::remove_file(folder.join("clipway.json")).unwrap();
    assert_eq!(Artifact::read(&folder).unwrap_err().code(), "io");
    assert_eq!(Artifact::find(&folder).unwrap(), None);
}

#[test]
fn what_older_artifacts_leave_out_has_its_meaning() {
    let bench = exported();
    assert_eq!(Artifact::read(&bench.target()).unwrap().model.towers, Tower::Both);
    change(&bench.target(), |value| {
        value.as_object_mut().unwrap().remove("target");
        value["model"]["towers"] = json!("text");
    });
    assert_eq!(Artifact::read(&bench.target()).unwrap().target, "open_clip");
    assert_eq!(Artifact::read(&bench.target()).unwrap().model.towers, Tower::Text);
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
            format!("`{name}`: tensor `visual.proj` was not there"),
            "tensor `another` is missing".to_owned(),
        ]
    );
    assert!(!report.is_right());
    // Nothing compared is a failure.
    change(&folder, |value| {
        value["weights"] = json!({});
        value["files"] = json!({});
    });
    let report = Artifact::check_hashes(&folder).unwrap();
    assert_eq!((report.tensors, report.files, report.differences.len()), (0, 0, 0));
    assert!(!report.is_right());
}
