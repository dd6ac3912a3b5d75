//! Indices that are damaged, foreign or of another version.

use std::fs;

use clipway_search::{Index, Writer};

use crate::{Draw, code, fill, new_index, processor};

const WIDTH: usize = 8;

#[test]
fn other_folders_are_no_indices() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(code(Index::open(folder.path())), "unknown-format");
    assert_eq!(code(Index::open(&folder.path().join("absent"))), "io");
    for (text, expected) in [
        ("", "malformed"),
        ("{}", "unknown-format"),
        (r#"{"format": "other", "version": 1}"#, "unknown-format"),
        (r#"{"format": "clipway-index", "version": 2, "more": 1}"#, "unsupported"),
        (r#"{"format": "clipway-index", "version": 1}"#, "malformed"),
        (r#"{"format": "clipway-index", "format": "clipway-index", "version": 1}"#, "malformed"),
    ] {
        fs::write(folder.path().join("index.json"), text).unwrap();
        assert_eq!(code(Index::open(folder.path())), expected, "{text}");
        assert_eq!(code(Writer::open(folder.path())), expected, "{text}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was created");
}

#[test]
fn a_manifest_that_says_something_else_is_refused() {
    let (_folder, path) = new_index(WIDTH);
    let file = path.join("index.json");
    let text = fs::read_to_string(&file).unwrap();
    for (from, to) in [
        ("\"metric\": \"cosine\"", "\"metric\": \"l2\""),
        ("row-max-127", "row-max-128"),
        ("\"width\": 8", "\"width\": 9"),
        ("\"model\"", "\"modle\""),
    ] {
        assert!(text.contains(from), "{from}");
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
        assert_eq!(code(Index::open(&path)), "malformed", "{to}");
    }
    // Widths that agree with each other, but not with the rows.
    fs::write(&file, text.replace("\"width\": 8", "\"width\": 9")).unwrap();
    assert_eq!(code(Index::open(&path)), "malformed");
    fs::write(&file, text).unwrap();
    Index::open(&path).unwrap();
}

#[test]
fn a_scale_that_is_no_scale_is_refused() {
    let (_folder, path) = new_index(WIDTH);
    fill(&path, &Draw(1).feature(5 * WIDTH));
    let file = path.join("rows.scale");
    let good = fs::read(&file).unwrap();
    for bad in [f32::NAN, f32::INFINITY, -1.0] {
        let mut bytes = good.clone();
        bytes[8..12].copy_from_slice(&bad.to_le_bytes());
        fs::write(&file, bytes).unwrap();
        let index = Index::open(&path).unwrap();
        assert_eq!(code(index.search(&processor(2), &[1.0; WIDTH], &Default::default())), "malformed");
    }
}

/// Every page of the database, damaged in several ways: an error or an answer, and no panic that gets out.
#[test]
fn a_damaged_database_is_an_error_and_no_panic() {
    let (_folder, path) = new_index(WIDTH);
    fill(&path, &Draw(2).feature(300 * WIDTH));
    let file = path.join("items.redb");
    let good = fs::read(&file).unwrap();
    let mut draw = Draw(3);
    let mut refused = 0;
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let all = || {
        let index = Index::open(&path)?;
        let mut count = 0;
        index.visit_items(|_, _| {
            count += 1;
            Ok(())
        })?;
        for row in 0..index.info().rows.min(300) {
            index.items_of_row(row)?;
        }
        index.search(&processor(1), &[1.0; WIDTH], &Default::default())?;
        drop(index);
        Writer::open(&path)?.commit()
    };
    for case in 0..150 {
        let mut bytes = good.clone();
        match case % 3 {
            0 => bytes.truncate(draw.below(good.len())),
            1 => {
                let at = draw.below(good.len());
                bytes[at] ^= 1 << draw.below(8);
            }
            _ => {
                let page = draw.below(good.len() / 4096) * 4096;
                bytes[page..page + 4096].fill(draw.below(256) as u8);
            }
        }
        fs::write(&file, bytes).unwrap();
        match all() {
            Ok(()) => {}
            Err(error) => {
                refused += 1;
                assert!(
                    ["malformed", "io", "write", "unsupported"].contains(&error.code()),
                    "{case}: {error}"
                );
            }
        }
    }
    for text in ["", "no database", "SQLite format 3\0"] {
        fs::write(&file, text).unwrap();
        assert!(all().is_err(), "{text}");
    }
    std::panic::set_hook(quiet);
    assert!(refused > 30, "{refused}");
}
