//! Compares whole commands with stored texts.

use std::path::Path;

use crate::scene::{Outcome, Scene};

/// Set this variable to rewrite the snapshots that differ.
const UPDATE: &str = "CLIPWAY_UPDATE_SNAPSHOTS";

/// Stands for any characters within a snapshot line.
const ANYTHING: &str = "[..]";

/// Runs a command and compares exit status, stdout and stderr with `tests/snapshots/NAME.txt`.
#[track_caller]
pub fn check(scene: &Scene, name: &str, arguments: &[&str]) -> Outcome {
    let outcome = scene.run(arguments);
    let code = outcome.code.map_or_else(|| "signal".to_owned(), |code| code.to_string());
    let found = scene.normalized(&format!(
        "$ clipway {}\nexit: {code}\n--- stdout\n{}--- stderr\n{}",
        arguments.join(" "),
        outcome.stdout,
        outcome.stderr
    ));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(format!("{name}.txt"));
    let expected = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    if let Some(difference) = difference(&expected, &found) {
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(&path, &found).expect("a snapshot");
        } else {
            panic!("snapshot `{name}`: {difference}\n\nfound in full:\n{found}\n({UPDATE}=1 writes it anew)");
        }
    }
    outcome
}

/// Runs a command that must be refused: it matches its snapshot, its error follows the house style, and the disk is
/// unchanged.
#[track_caller]
pub fn check_refused(scene: &Scene, name: &str, arguments: &[&str]) {
    let before = scene.listing();
    let outcome = check(scene, name, arguments);
    assert!(matches!(outcome.code, Some(1 | 2)), "{outcome:?}");
    assert_eq!(scene.listing(), before, "the folder has changed");
    let error = outcome.stderr.lines().position(|line| line.starts_with("error: ")).expect("an error");
    let lines: Vec<&str> = outcome.stderr.lines().skip(error).collect();
    assert!(!lines[0].ends_with('.'), "a full stop after {:?}", lines[0]);
    match lines.iter().position(|line| line.starts_with("hint: ")) {
        // A long list follows the hint, which it would hide.
        Some(hint) => {
            let is_last = hint + 1 == lines.len() || (lines[hint + 1].is_empty() && lines.len() - hint > 12);
            assert!(lines[hint - 1].is_empty() && is_last, "{lines:?}");
        }
        None => assert!(lines.iter().all(|line| !line.is_empty()), "{lines:?}"),
    }
}

/// Describes the first line that differs.
fn difference(expected: &str, found: &str) -> Option<String> {
    let (mut expected, mut found) = (expected.lines(), found.lines());
    for number in 1.. {
        match (expected.next(), found.next()) {
            (None, None) => return None,
            (Some(expected), Some(found)) if matches(expected, found) => {}
            (expected, found) => {
                let [expected, found] = [expected, found].map(|line| line.unwrap_or("(the end)"));
                return Some(format!("line {number}\n  expected: {expected}\n  found:    {found}"));
            }
        }
    }
    None
}

/// Returns whether a line matches the snapshot's.
fn matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split(ANYTHING);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[test]
fn a_wildcard_stands_for_anything_in_a_line() {
    for (pattern, line, expected) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a [..] c", "a b c", true),
        ("a [..] c", "a b", false),
        ("[..]", "", true),
        ("x[..]y[..]z", "x1y2z", true),
        ("x[..]y[..]z", "x1z", false),
    ] {
        assert_eq!(matches(pattern, line), expected, "{pattern} {line}");
    }
    assert_eq!(difference("a\nb\n", "a\nb\n"), None);
    assert!(difference("a\n", "a\nb\n").is_some_and(|text| text.contains("line 2")));
}
