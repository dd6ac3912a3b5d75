//! The README shows what the commands print.

use std::path::Path;

use crate::scene::Scene;

/// Snapshots of commands shown in the README.
const SHOWN: [&str; 3] = ["inspect-checkpoint", "export", "verify-against"];

#[test]
fn the_readme_shows_what_the_commands_print() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: String| std::fs::read_to_string(root.join(path)).unwrap();
    let mut printed: Vec<String> = SHOWN
        .iter()
        .flat_map(|name| lines(&read(format!("tests/snapshots/{name}.txt"))).collect::<Vec<_>>())
        .collect();
    let classify = [
        "classify",
        "EXPORTED",
        "EMOJI/pictures/lion.png",
        "--labels-file",
        "EMOJI/labels.txt",
        "--template",
        "an emoji of {}",
        "--top",
        "3",
    ];
    let scene = Scene::new();
    printed.extend(lines(&scene.normalized(&scene.run(&classify).ended(0).stdout)));
    scene.run(&["index", "EMOJI/pictures", "--model", "EXPORTED", "--index", "photos.index"]).ended(0);
    let search = ["search", "--index", "photos.index", "a lion", "--limit", "3"];
    printed.extend(lines(&scene.normalized(&scene.run(&search).ended(0).stdout)));
    let readme = read("../../README.md".to_owned());
    let shown = readme.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    let shown: Vec<String> =
        shown.flat_map(lines).filter(|line| !line.is_empty() && !line.starts_with(['$', '…'])).collect();
    assert!(shown.len() > 15, "{shown:?}");
    for line in shown {
        let line = line.replace("examples/emoji-clip", "EMOJI");
        assert!(printed.contains(&line), "no command prints `{line}`");
    }
}

/// Returns the lines of a text, with runs of whitespace collapsed.
fn lines(text: &str) -> impl Iterator<Item = String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
}
