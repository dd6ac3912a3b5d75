//! The README's program: short, identical to the example, and correct when run.

use std::path::Path;
use std::process::Command;

use clipway_model::export::Export;
use clipway_model::source::{ModelChoice, Source, SourceOptions};

use crate::emoji::{Expected, example};
use crate::made::write_options;

#[path = "../../examples/cosine.rs"]
mod program;

/// Set in the process that runs the program.
const RUNS: &str = "CLIPWAY_RUNS_README_PROGRAM";

#[test]
fn the_readme_has_the_example_in_ten_lines_at_most() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("../../README.md")).unwrap();
    let program = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let example = std::fs::read_to_string(root.join("examples/cosine.rs")).unwrap();
    assert!(example.contains(&format!("\n\n{program}\n")), "{program}");
    let lines = program.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines <= 10, "{lines} lines");
}

/// Runs only in the process started by [`the_readme_s_program_prints_open_clip_s_cosine`]; otherwise does nothing.
#[test]
fn runs_the_program() {
    if std::env::var_os(RUNS).is_some() {
        program::run();
    }
}

#[test]
fn the_readme_s_program_prints_open_clip_s_cosine() {
    // The paths in the program are relative: an exported model, and the images in the repository.
    let place = tempfile::tempdir().unwrap();
    let model = Some(ModelChoice::File(example().join("emoji-clip.json")));
    let options = SourceOptions { model, ..SourceOptions::default() };
    let source = Source::resolve(example().join("emoji-clip.pt"), &options).unwrap();
    let export = Export::prepare(&source, Default::default()).unwrap();
    export.write(&place.path().join("out/emoji-clip"), &write_options()).unwrap();
    let images = place.path().join("examples/emoji-clip/pictures");
    std::fs::create_dir_all(&images).unwrap();
    std::fs::copy(example().join("pictures/lion.png"), images.join("lion.png")).unwrap();

    let output = Command::new(std::env::current_exe().unwrap())
        .args(["readme::runs_the_program", "--exact", "--nocapture"])
        .current_dir(place.path())
        .env(RUNS, "1")
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let found: Vec<f64> = printed.split_whitespace().filter_map(|word| word.parse().ok()).collect();

    let expected = Expected::read(&example());
    let (images, texts) = (expected.values("image_features"), expected.values("text_features"));
    let image = expected.images().iter().position(|(file, ..)| file == "lion.png").unwrap();
    let template = expected.strings("templates").iter().position(|one| one == "{}").unwrap();
    let label = expected.labels.iter().position(|label| label == "lion").unwrap();
    let text = template * expected.labels.len() + label;
    let width = texts.len() / (expected.strings("templates").len() * expected.labels.len());
    let row = |values: &[f32], index: usize| values[index * width..][..width].to_vec();
    let theirs = clipway_run::cosine(&row(&images, image), &row(&texts, text));
    assert!(found.iter().any(|ours| (ours - theirs).abs() <= 1e-4), "{theirs}: {printed}");
}
