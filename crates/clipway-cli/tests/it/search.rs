//! `clipway search`, `duplicates` and `index`.

use std::path::{Path, PathBuf};

use clipway_model::source::{Source, SourceOptions};
use clipway_run::clip::Clip;
use clipway_run::load::LoadOptions;
use clipway_run::space::{Identity, Probing};
use clipway_search::{Index, Item, NewIndex, Writer};

use crate::scene::{Scene, emoji, exported};
use crate::snapshot::check_refused;

/// The demo's images, by name.
fn pictures() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(emoji().join("pictures")).expect("pictures");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an image").path()).collect();
    paths.sort();
    paths
}

/// Writes an index of the demo's images, each under its name.
fn write_index(path: &Path) {
    let source = Source::resolve(exported(), &SourceOptions::default()).expect("the exported folder");
    let load = LoadOptions::default();
    let clip = Clip::load(&source, &load).expect("loaded");
    let space = Identity::of(&source, &clip, &load).expect("an identity");
    let space = space.space(&clip, Probing::Whole).expect("a space");
    Index::create(path, NewIndex { space, model: Some(exported().to_path_buf()) }).expect("created");
    let mut writer = Writer::open(path).expect("opened");
    for (number, picture) in pictures().iter().enumerate() {
        let feature = clip.embed_image(&std::fs::read(picture).expect("bytes")).expect("a feature");
        let mut hash = [1; 32];
        hash[0] = number as u8;
        let item = Item {
            hash,
            size: 1000 + number as u64,
            width: 72,
            height: if number == 0 { 36 } else { 72 },
            taken: Some(86_400 * number as i64),
            caption: (number == 1).then(|| "zwei Löwen".to_owned()),
            ..Item::default()
        };
        let name = Path::new("images").join(picture.file_name().expect("a name"));
        writer.put(&name, &item, Some(&feature)).expect("put");
    }
    // A second file with the bytes of the second image.
    writer
        .put("other/copy of it.png".as_ref(), &Item { hash: [1; 32], ..Item::default() }, None)
        .expect("put");
    writer.commit().expect("committed");
}

/// A scene with an index `INDEX`.
fn scene() -> Scene {
    let scene = Scene::new();
    write_index(&scene.path("INDEX"));
    scene
}

const SEARCH: [&str; 3] = ["search", "--index", "INDEX"];
const TEMPLATE: [&str; 2] = ["--template", "an emoji of {}"];

fn best(scene: &Scene, arguments: &[&str]) -> Vec<String> {
    let found = scene.run(&[&SEARCH[..], arguments, &["--json"]].concat()).ended(0).json();
    let queries = found["queries"].as_array().expect("queries");
    let first = |query: &serde_json::Value| query["results"][0]["path"].as_str().expect("a path").to_owned();
    queries.iter().map(first).collect()
}

#[test]
fn texts_and_images_find_their_images() {
    let scene = scene();
    let words = [&TEMPLATE[..], &["lion", "avocado", "EMOJI/pictures/jack-o-lantern.png"]].concat();
    assert_eq!(best(&scene, &words), ["images/lion.png", "images/avocado.png", "images/jack-o-lantern.png"]);
    assert_eq!(best(&scene, &["--like", "images/lion.png"]), ["images/lion.png"]);
    assert_eq!(best(&scene, &["--like", "EMOJI/pictures/lion.png"]), ["images/lion.png"]);
    for name in ["lion.png", "avocado.png"] {
        scene.write(name, std::fs::read(emoji().join("pictures").join(name)).expect("an image"));
    }
    // A sum of one term is that term, and weights count.
    assert_eq!(best(&scene, &["--plus", "lion.png"]), ["images/lion.png"]);
    assert_eq!(best(&scene, &["lion.png", "--plus", "3:avocado.png"]), ["images/avocado.png"]);
    assert_ne!(best(&scene, &["lion.png", "--minus", "2:lion.png"]), ["images/lion.png"]);
}

#[test]
fn results_are_written_in_several_ways() {
    let scene = scene();
    let lion = ["EMOJI/pictures/lion.png", "-k", "2"];
    let found = scene.run(&[&SEARCH[..], &lion, &["--json"]].concat()).ended(0).json();
    let results = found["queries"][0]["results"].as_array().expect("results");
    assert_eq!((results.len(), &results[0]["rank"]), (2, &1.into()));
    assert!(results[0]["cosine"].as_f64().expect("a cosine") > 0.99);
    let captioned = scene.run(&[&SEARCH[..], &["--like", "1", "--json"]].concat()).ended(0).json();
    let first = &captioned["queries"][0]["results"][0];
    assert_eq!((&first["row"], &first["caption"]), (&1.into(), &"zwei Löwen".into()));
    assert_eq!(captioned["queries"][0]["results"][1].get("caption"), None);
    let score = results[0]["score"].as_f64().expect("a score");
    assert!(score > results[1]["score"].as_f64().expect("a score"));
    let table = scene.run(&[&SEARCH[..], &lion].concat()).ended(0).stdout;
    assert!(table.lines().next().is_some_and(|line| line.contains("score")), "{table}");
    assert!(table.contains("images/lion.png"), "{table}");
    let paths = scene.run(&[&SEARCH[..], &lion, &["--paths"]].concat()).ended(0).stdout;
    assert_eq!((paths.lines().count(), paths.lines().next()), (2, Some("images/lion.png")));
    let zeros = scene.run(&[&SEARCH[..], &lion, &["-0"]].concat()).ended(0).stdout;
    assert_eq!(zeros, paths.replace('\n', "\0"));
    // The first gap comes after the image itself.
    let auto = scene.run(&[&SEARCH[..], &lion[..1], &["--auto", "--paths"]].concat()).ended(0).stdout;
    assert_eq!(auto, "images/lion.png\n");
    let least = (score - 0.01).to_string();
    let cut = scene.run(&[&SEARCH[..], &lion, &["--paths", "--min-score", &least]].concat()).ended(0).stdout;
    assert_eq!(cut, "images/lion.png\n");
    let none = scene.run(&[&SEARCH[..], &lion, &["--min-score", "1000"]].concat()).ended(1);
    assert_eq!(none.stdout, "no results\n");
}

#[test]
fn filters_choose_before_the_ranking() {
    let scene = scene();
    let paths = |more: &[&str]| -> Vec<String> {
        let outcome = scene.run(&[&SEARCH[..], &["--like", "1", "--paths", "-k", "100"], more].concat());
        outcome.stdout.lines().map(str::to_owned).collect()
    };
    let all = pictures().len();
    assert_eq!(paths(&[]).len(), all);
    assert_eq!(paths(&["--path", "*/lion.png"]), ["images/lion.png"]);
    assert_eq!(paths(&["--path", "other/*"]), ["other/copy of it.png"]);
    assert_eq!(paths(&["--after", "1970-01-03", "--before", "1970-01-05"]).len(), 2);
    assert_eq!(paths(&["--orientation", "square"]).len(), all - 1);
    assert_eq!(paths(&["--min-size", "72x72"]).len(), all - 1);
    assert_eq!(paths(&["--min-size", "5185"]), [""; 0]);
}

#[test]
fn texts_come_from_standard_input_too() {
    let scene = scene();
    let mut command = scene.command(&[&SEARCH[..], &TEMPLATE, &["-", "--json"]].concat());
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut stdin, b"lion\n\navocado\n").expect("written");
    drop(stdin);
    let outcome = crate::scene::Outcome::of(child.wait_with_output().expect("it ends")).ended(0).json();
    assert_eq!(outcome["queries"][0]["results"][0]["path"], "images/lion.png");
    assert_eq!(outcome["queries"][1]["query"], "avocado");
    assert_eq!(outcome["queries"][1]["results"][0]["path"], "images/avocado.png");
}

#[test]
fn what_cannot_be_searched_is_refused() {
    let scene = scene();
    scene.write("no-image.png", "no image");
    std::fs::create_dir(scene.path("folder")).expect("a folder");
    for (name, arguments) in [
        ("no-index", &["search", "--index", "folder", "a lion"][..]),
        ("bad-pattern", &["search", "--index", "INDEX", "a lion", "--path", "["]),
        ("no-such-row", &["search", "--index", "INDEX", "--like", "9999"]),
        ("no-such-path", &["search", "--index", "INDEX", "--like", "absent.png"]),
        ("no-image", &["search", "--index", "INDEX", "no-image.png"]),
        ("bad-template", &["search", "--index", "INDEX", "a lion", "--template", "an emoji"]),
        ("bad-threshold", &["duplicates", "--index", "INDEX", "--threshold", "1.5"]),
        ("merge-exists", &["index", "merge", "INDEX", "--out", "INDEX"]),
    ] {
        check_refused(&scene, &format!("search-{name}"), arguments);
    }
    scene.run(&SEARCH).ended(2);
}

#[test]
fn another_model_is_refused() {
    let scene = scene();
    let path = scene.path("INDEX/index.json");
    let text = std::fs::read_to_string(&path).expect("the manifest");
    let mut manifest: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    // As of a model with other weights: another fingerprint, and features of the built-in texts turned around.
    manifest["space"]["fingerprint"] = "0123456789abcdef".into();
    for probe in manifest["space"]["text"]["probes"].as_array_mut().expect("probes") {
        let digits = probe.as_str().expect("digits").to_owned();
        let turned: Vec<&str> = (0..digits.len() / 4).rev().map(|at| &digits[4 * at..4 * at + 4]).collect();
        *probe = turned.concat().into();
    }
    std::fs::write(path, manifest.to_string()).expect("written");
    let outcome = scene.run(&[&SEARCH[..], &["a lion"]].concat()).ended(1);
    assert!(outcome.stderr.contains("[other-space]"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("0123456789abcdef"), "it names the index's space: {}", outcome.stderr);
    // Rows need no model.
    scene.run(&[&SEARCH[..], &["--like", "0"]].concat()).ended(0);
}

#[cfg(unix)]
#[test]
fn a_tokenizer_that_cannot_be_read_keeps_its_status_and_hint() {
    let scene = scene();
    // An image needs no tokenizer, but the model's space has its rules.
    let search = ["search", "--index", "INDEX", "EMOJI/pictures/lion.png", "--model"];
    scene.copy_exported("loop").copy_exported("unlisted").write("unlisted/spiece.model", "x");
    let path = scene.path("loop/vocab.json");
    std::fs::remove_file(&path).expect("a removal");
    std::os::unix::fs::symlink("vocab.json", &path).expect("a link");
    let outcome = scene.run(&[&search[..], &["loop"]].concat()).ended(2);
    assert!(outcome.stderr.contains("[io]"), "{outcome:?}");
    let outcome = scene.run(&[&search[..], &["unlisted"]].concat()).ended(1);
    assert!(outcome.stderr.contains("hint: remove the file from the folder"), "{outcome:?}");
}

#[test]
fn duplicates_are_listed_and_indices_checked() {
    let scene = scene();
    let found = scene.run(&["duplicates", "--index", "INDEX", "--exact", "--json"]).ended(0).json();
    let groups = found["groups"].as_array().expect("groups");
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0]["files"].as_array().map(Vec::len), Some(2));
    let text = scene.run(&["duplicates", "--index", "INDEX", "--exact"]).ended(0).stdout;
    assert!(text.starts_with("2 files, the same bytes\n"), "{text}");
    let near =
        scene.run(&["duplicates", "--index", "INDEX", "--threshold", "0.01", "--json"]).ended(0).json();
    assert!(near["groups"][0]["files"].as_array().is_some_and(|files| files.len() > 2), "{near}");

    let info = scene.run(&["index", "info", "INDEX", "--json"]).ended(0).json();
    assert_eq!(info["rows"].as_u64(), Some(pictures().len() as u64));
    assert!(scene.run(&["index", "info", "INDEX"]).ended(0).stdout.contains("width"));
    let check = scene.run(&["index", "check", "INDEX"]).ended(0).stdout;
    assert!(check.contains("whole: ") && check.contains("recall@10 1.0000"), "{check}");
    let merged = scene.run(&["index", "merge", "INDEX", "INDEX", "--out", "BOTH", "--json"]).ended(0).json();
    assert_eq!(merged["rows"], info["rows"]);
    scene.run(&["index", "export", "INDEX", "--out", "out.jsonl"]).ended(0);
    let lines = std::fs::read_to_string(scene.path("out.jsonl")).expect("lines");
    assert_eq!(lines.lines().count(), pictures().len() + 1);
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().expect("a line")).expect("JSON");
    assert_eq!(
        (&first["file"], first["features"].as_array().map(Vec::len)),
        (&"images/avocado.png".into(), Some(128))
    );
    let path = scene.path("INDEX/rows.f16");
    let mut bytes = std::fs::read(&path).expect("rows");
    bytes[5] ^= 0x40;
    std::fs::write(path, bytes).expect("written");
    let check = scene.run(&["index", "check", "INDEX", "--json"]).ended(1).json();
    assert!(check["problems"][0].as_str().is_some_and(|problem| problem.contains("checksum")), "{check}");
}

// Its name of a file is none on Windows.
#[cfg(unix)]
#[test]
fn pictures_are_drawn_in_a_terminal_or_where_it_is_asked_for() {
    let scene = Scene::indexed();
    std::fs::copy(scene.path("images/lion.png"), scene.path("images/\x1b[31mlion.png")).expect("a copy");
    scene.run(&["index", "images", "--index", "all.index", "--quiet"]).ended(0);
    std::fs::remove_file(scene.path("images/avocado.png")).expect("a removal");
    let search = ["search", "--index", "all.index", "--like", "images/lion.png", "-k", "12"];
    // The tests' standard output is no terminal.
    let refused = scene.run(&[&search[..], &["--preview"]].concat()).ended(2);
    assert!(
        refused.stderr.contains("no terminal that shows pictures") && refused.stdout.is_empty(),
        "{refused:?}"
    );
    scene.run(&[&search[..], &["--preview", "--json"]].concat()).ended(2);
    let rows = scene.run(&[&search[..], &["--json"]].concat()).ended(0).json();
    let results = rows["queries"][0]["results"].as_array().expect("results").len();
    let blocks = scene.run(&[&search[..], &["--preview=half-blocks"]].concat()).ended(0).stdout;
    let mut lines = blocks.lines();
    // The images are 72 pixels wide and high: 40 columns, and 20 lines.
    for _ in 0..20 {
        let line = lines.next().expect("a line of the first picture");
        assert_eq!(line.matches('\u{2580}').count(), 40, "{line:?}");
        assert!(line.starts_with("\u{1b}[38;2;") && line.ends_with("\u{1b}[0m"), "{line:?}");
    }
    assert!(lines.next().is_some_and(|line| line.starts_with("1. score ")), "{blocks:?}");
    let captions = blocks.lines().filter(|line| line.contains(". score ")).count();
    assert_eq!(captions, results);
    assert!(!blocks.contains("\u{1b}[31m") && blocks.contains("[31mlion.png"), "a path controls nothing");
    let kitty = scene.run(&[&search[..], &["--preview=kitty"]].concat()).ended(0).stdout;
    let drawn = kitty.matches("\u{1b}_Ga=T,f=24,q=2,s=").count();
    assert_eq!((drawn, kitty.matches("no picture: ").count()), (results - 1, 1));
}
