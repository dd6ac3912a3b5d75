//! What a writer that dies at any point leaves behind.

use std::fs;
use std::path::Path;

use clipway_search::{Index, Writer};

use crate::{Draw, code, fill, item, name, new_index, processor};

const WIDTH: usize = 8;
const FILES: [(&str, usize); 3] = [("rows.i8", 64), ("rows.scale", 4), ("rows.f16", 64)];

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn set_length(path: &Path, length: u64) {
    fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// Every stage between appending rows and committing: each file of rows with any number of bytes more than was committed.
#[test]
fn rows_that_were_not_committed_are_cut_off() {
    let (folder, path) = new_index(WIDTH);
    let features = Draw(1).feature(10 * WIDTH);
    fill(&path, &features);
    let whole: Vec<Vec<u8>> = FILES.iter().map(|(file, _)| fs::read(path.join(file)).unwrap()).collect();
    for (stage, extra) in [0, 1, 3, 63, 64, 65, 640].iter().enumerate() {
        for files in 0..8_usize {
            let copied = folder.path().join(format!("{stage}-{files}"));
            copy(&path, &copied);
            for (at, (file, _)) in FILES.iter().enumerate().filter(|(at, _)| files >> at & 1 == 1) {
                // Not zeros: what is appended next must not be mixed up with it.
                let bytes = [whole[at].as_slice(), &vec![0xa5; *extra]].concat();
                fs::write(copied.join(file), bytes).unwrap();
            }
            let index = Index::open(&copied).unwrap();
            let search = |index: &Index| index.search(&processor(1), &features[..WIDTH], &Default::default());
            assert_eq!(search(&index).unwrap()[0].hits.len(), 10);
            assert_eq!(index.info().rows, 10);
            drop(index);
            let mut writer = Writer::open(&copied).unwrap();
            let feature = &Draw(9).feature(WIDTH);
            assert_eq!(writer.put(&name(10), &item(10), Some(feature)).unwrap(), Some(10));
            writer.commit().unwrap();
            drop(writer);
            let index = Index::open(&copied).unwrap();
            let hits = index.search(&processor(1), feature, &Default::default()).unwrap();
            assert_eq!(hits[0].hits[0].row, 10);
            assert!(hits[0].hits[0].cosine > 0.999);
            for (at, (file, row)) in FILES.iter().enumerate() {
                let bytes = fs::read(copied.join(file)).unwrap();
                assert_eq!(bytes.len(), 11 * row, "{file}");
                assert_eq!(bytes[..10 * row], whole[at], "{file}");
            }
        }
    }
}

#[test]
fn what_was_not_committed_is_gone() {
    let (folder, path) = new_index(WIDTH);
    let features = Draw(2).feature(5 * WIDTH);
    fill(&path, &features);
    let mut writer = Writer::open(&path).unwrap();
    for number in 5..3000 {
        let feature = Draw(number as u64).feature(WIDTH);
        writer.put(&name(number), &item(number), Some(&feature)).unwrap();
    }
    writer.remove(&name(0)).unwrap();
    // A copy is what a kill leaves: the writer is still at work, and its database is not closed.
    let killed = folder.path().join("killed");
    copy(&path, &killed);
    for path in [&killed, &path] {
        // Readers come first in one, a writer in the other.
        let info = Index::open(path).unwrap().info();
        assert_eq!((info.rows, info.items, info.dead), (5, 5, 0));
    }
    drop(writer);
    let mut writer = Writer::open(&path).unwrap();
    assert!(writer.item(&name(0)).unwrap().is_some());
    assert_eq!(writer.row_of_hash(&item(7).hash).unwrap(), None);
    writer.put(&name(7), &item(7), Some(&features[..WIDTH])).unwrap();
    writer.commit().unwrap();
    assert_eq!(Index::open(&path).unwrap().info().rows, 6);
}

#[test]
fn rows_that_are_missing_are_noticed() {
    let (folder, path) = new_index(WIDTH);
    fill(&path, &Draw(3).feature(5 * WIDTH));
    for (file, row) in FILES {
        for length in [0, 5 * row - 1] {
            let copied = folder.path().join(format!("{file}-{length}"));
            copy(&path, &copied);
            set_length(&copied.join(file), length as u64);
            assert_eq!(code(Index::open(&copied)), "malformed", "{file}");
            assert_eq!(code(Writer::open(&copied)), "malformed", "{file}");
            assert_eq!(fs::metadata(copied.join(file)).unwrap().len(), length as u64, "nothing was cut");
        }
    }
}
