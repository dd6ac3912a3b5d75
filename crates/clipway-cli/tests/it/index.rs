//! `clipway index`.

use std::path::PathBuf;

use clipway_search::Index;
use serde_json::Value;

use crate::scene::Scene;
use crate::snapshot::{check, check_refused};

fn counts(report: &Value) -> [u64; 6] {
    ["images", "embedded", "reused", "unchanged", "removed", "unreadable"]
        .map(|key| report[key].as_u64().expect("a number"))
}

const FILL: [&str; 4] = ["index", "images", "--index", "all.index"];

#[test]
fn an_index_is_made_and_kept_up_to_date() {
    let scene = Scene::with_images();
    let first = scene.run(&[&FILL[..], &["--model", "EXPORTED", "--json"]].concat()).ended(0).json();
    assert_eq!(counts(&first), [12, 12, 0, 0, 0, 0]);
    assert_eq!(first["fingerprint"].as_str().map(str::len), Some(16));
    // The index names its model. Moved and copied images keep their vectors.
    std::fs::rename(scene.path("images/lion.png"), scene.path("images/king.png")).expect("a move");
    std::fs::copy(scene.path("images/avocado.png"), scene.path("images/copy.png")).expect("a copy");
    scene.write("images/torn.png", b"\x89PNG\r\n\x1A\n");
    scene.write("images/phone.jxl", b"x");
    let second = scene.run(&[&FILL[..], &["--json"]].concat()).ended(1).json();
    assert_eq!(counts(&second), [14, 0, 2, 11, 1, 1]);
    assert_eq!(second["unsupported"]["jxl"], 1);
    let index = Index::open(&scene.path("all.index")).expect("an index");
    assert_eq!((index.info().items, index.info().rows, index.info().dead), (14, 12, 0));
    std::fs::remove_file(scene.path("images/torn.png")).expect("a removal");
    check(&scene, "index-again", &FILL);
}

#[cfg(unix)]
#[test]
fn an_index_follows_changes_until_it_is_interrupted() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    let scene = Scene::with_images();
    let mut command = scene.command(&[&FILL[..], &["--model", "EXPORTED", "--watch=0.1"]].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary runs");
    let mut lines =
        BufReader::new(child.stdout.take().expect("its output")).lines().map(|line| line.expect("text"));
    let mut until =
        |end: &str| lines.find(|line| line.trim_start().ends_with(end)).expect("the process goes on");
    assert_eq!(until("embedded").trim(), "12 embedded");
    let items = || Index::open(&scene.path("all.index")).expect("an index").info().items;
    // Another program may write between two looks.
    std::fs::copy(scene.path("images/avocado.png"), scene.path("images/copy.png")).expect("a copy");
    assert_eq!(until("reused").trim(), "1 with known bytes: their vectors were reused");
    assert_eq!(items(), 13);
    std::fs::remove_file(scene.path("images/copy.png")).expect("a removal");
    assert_eq!(until("from the index").trim(), "1 gone, and removed from the index");
    // Folders that go away keep what is known of them.
    std::fs::rename(scene.path("images"), scene.path("away")).expect("a move");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(items(), 12);
    std::fs::rename(scene.path("away"), scene.path("images")).expect("a move");
    scene.write("images/torn.png", b"\x89PNG\r\n\x1A\n");
    assert_eq!(until("change").trim(), "1 unreadable; they are tried again when they change");
    let sent = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(sent.expect("kill").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn another_models_features_do_not_go_into_an_index() {
    let scene = Scene::with_images();
    scene.run(&[&FILL[..], &["--model", "EXPORTED", "--quiet"]].concat()).ended(0);
    scene.export(&["--image-mean", "0.5", "0.5", "0.5", "--out", "other"]);
    scene.export(&["--precision", "fp16", "--out", "half"]);
    for (name, model) in [("other-space", "other"), ("twin", "half")] {
        check_refused(&scene, &format!("index-{name}"), &[&FILL[..], &["--model", model]].concat());
    }
    check_refused(&scene, "index-compute", &[&FILL[..], &["--compute", "int8"]].concat());
}

#[test]
fn names_in_an_index_are_escaped_and_shortened_in_messages() {
    let scene = Scene::indexed();
    let path = scene.path("all.index/index.json");
    let text = std::fs::read_to_string(&path).expect("the manifest");
    let mut manifest: Value = serde_json::from_str(&text).expect("JSON");
    let space = &mut manifest["space"];
    space["source"] = "its`\nname".into();
    space["text"]["tokens"]["title"] = format!("its{}", "~".repeat(1000)).into();
    space["text"]["tokens"]["ids"].as_array_mut().expect("ids").iter_mut().for_each(|id| *id = "0".into());
    scene.write("all.index/index.json", manifest.to_string());
    let refused = scene.run(&FILL).ended(1).stderr;
    assert!(refused.contains(r"all.index` has features of `its\u{60}\u{a}name` ("), "{refused}");
    assert!(refused.contains("(its~~~") && refused.contains("~…; ") && refused.len() < 1000, "{refused}");
}

#[test]
fn what_cannot_be_indexed_is_refused() {
    let scene = Scene::with_images();
    check_refused(&scene, "index-no-model", &FILL);
    check_refused(&scene, "index-no-folder", &["index", "nowhere", "--index", "x", "--model", "EXPORTED"]);
    let pattern = [&FILL[..], &["--model", "EXPORTED", "--exclude", "[a"]].concat();
    assert!(scene.run(&pattern).ended(2).stderr.contains("invalid value '[a' for '--exclude <GLOB>'"));
    check_refused(&scene, "index-no-index", &["index", "images", "--index", "images", "--model", "EXPORTED"]);
}

#[cfg(unix)]
#[test]
fn an_interrupt_keeps_what_was_done() {
    use std::io::Read;
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    let scene = Scene::with_images();
    let lion = std::fs::read(scene.path("images/lion.png")).expect("an image");
    for number in 0..3000 {
        // Bytes after the end of a PNG change its hash, and nothing else.
        let mut bytes = lion.clone();
        bytes.extend(format!("{number}").bytes());
        scene.write(&format!("images/{number}.png"), bytes);
    }
    let mut command = scene.command(&[&FILL[..], &["--model", "EXPORTED"]].concat());
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the binary runs");
    let rows = || -> u64 {
        std::fs::metadata(scene.path("all.index/rows.f16")).map_or(0, |metadata| metadata.len() / 256)
    };
    let clock = Instant::now();
    while rows() < 100 && clock.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.expect("kill").success());
    let status = child.wait().expect("it ends");
    let mut said = String::new();
    child.stderr.take().expect("stderr").read_to_string(&mut said).expect("its last words");
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(said.contains("interrupted; "), "{said}");
    let items = Index::open(&scene.path("all.index")).expect("an index").info().items;
    assert!((100..3012).contains(&items), "{items}: {said}");
    let rest = scene.run(&[&FILL[..], &["--json"]].concat()).ended(0).json();
    assert_eq!(counts(&rest), [3012, 3012 - items, 0, items, 0, 0]);
    let index: PathBuf = scene.path("all.index");
    assert_eq!(Index::open(&index).expect("an index").info().rows, 3012, "nothing was embedded twice");
}
