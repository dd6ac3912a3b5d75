//! The first things that people try; `docs/newcomer.md` has the list.

use std::io::Write;
use std::process::Stdio;

use crate::scene::{Outcome, Scene};

const EXPORT: [&str; 4] = ["export", "EMOJI/emoji-clip.pt", "--model", "EMOJI/emoji-clip.json"];

/// Runs a command with this standard input.
fn fed(scene: &Scene, input: &str, arguments: &[&str]) -> Outcome {
    let mut command = scene.command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    Outcome::of(child.wait_with_output().expect("it ends"))
}

#[test]
fn an_empty_folder_is_taken_and_parents_are_made() {
    let scene = Scene::new();
    std::fs::create_dir(scene.path("empty")).expect("a folder");
    for out in ["empty", "a/b/c"] {
        scene.run(&[&EXPORT[..], &["--out", out, "--no-verify"]].concat()).ended(0);
        assert!(scene.path(out).join("clipway.json").is_file(), "{out}");
    }
}

#[test]
fn a_dash_is_standard_input() {
    let scene = Scene::new();
    let texts = "a lion\n\na snail\n";
    let piped = fed(&scene, texts, &["embed", "EXPORTED", "--texts-file", "-"]).ended(0).json();
    scene.write("texts.txt", texts);
    let read = scene.run(&["embed", "EXPORTED", "--texts-file", "texts.txt"]).ended(0).json();
    assert_eq!(piped, read);
    assert_eq!(piped.as_array().map(Vec::len), Some(3), "a blank line has a row");
    let classify =
        |labels| ["classify", "EXPORTED", "EMOJI/pictures/lion.png", "--json", "--labels-file", labels];
    scene.write("labels.txt", "lion\nsnail\n");
    let piped = fed(&scene, "lion\nsnail\n", &classify("-")).ended(0).json();
    assert_eq!(piped, scene.run(&classify("labels.txt")).ended(0).json());
    assert_eq!(piped["labels"], 2);
}

#[test]
fn an_export_says_where_every_setting_is_from() {
    let scene = Scene::new();
    let said = scene.run(&[&EXPORT[..], &["--out", "out", "--no-verify"]].concat()).ended(0).stdout;
    for (field, origin) in [
        ("tokenizer", "open_clip's default: not set in `emoji-clip.json`"),
        ("mean", "open_clip's default: not set in `emoji-clip.json`"),
        ("context length", "`emoji-clip.json`, `text_cfg.context_length`"),
    ] {
        let line = said.lines().find(|line| line.trim_start().starts_with(field)).expect(field);
        assert!(line.trim_end().ends_with(origin), "{line}");
    }
}

#[test]
fn nothing_that_moves_is_written_into_a_pipe() {
    let scene = Scene::new();
    let outcome = scene.run(&[&EXPORT[..], &["--out", "out"]].concat()).ended(0);
    assert_eq!(outcome.stderr, "", "bars are for terminals");
}
