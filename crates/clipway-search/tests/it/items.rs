//! Items, rows and commits.

use std::path::Path;

use clipway_search::{Index, Item, MOST_PATH_BYTES, NewIndex, Writer};

use crate::{code, item, name, new_index, processor, space};

#[test]
fn what_was_committed_is_read() {
    let (_folder, path) = new_index(3);
    let mut writer = Writer::open(&path).unwrap();
    assert_eq!(writer.put(&name(0), &item(0), Some(&[1.0, 0.0, 0.0])).unwrap(), Some(0));
    assert_eq!(writer.put(&name(1), &item(1), Some(&[0.0, 2.0, 0.0])).unwrap(), Some(1));
    let unreadable = Item { unreadable: Some("no image".to_owned()), size: 5, ..Item::default() };
    assert_eq!(writer.put(&name(2), &unreadable, None).unwrap(), None);
    // The writer sees what it has put, an index does not.
    assert_eq!(writer.item(&name(1)).unwrap().unwrap().row, Some(1));
    assert_eq!(writer.row_of_hash(&item(1).hash).unwrap(), Some(1));
    assert_eq!(Index::open(&path).unwrap().info().rows, 0);
    let early = Index::open(&path).unwrap();
    writer.commit().unwrap();

    let index = Index::open(&path).unwrap();
    let info = index.info();
    assert_eq!((info.width, info.rows, info.dead, info.items), (3, 2, 0, 3));
    assert_eq!(info.space, space(3));
    assert_eq!(index.item(&name(0)).unwrap(), Some(Item { row: Some(0), ..item(0) }));
    assert_eq!(index.item(&name(2)).unwrap(), Some(unreadable));
    assert_eq!(index.item(Path::new("other")).unwrap(), None);
    assert_eq!(index.items_of_row(1).unwrap(), [(name(1), Item { row: Some(1), ..item(1) })]);
    assert_eq!(index.items_of_row(2).unwrap(), []);
    assert_eq!(index.feature(1).unwrap(), [0.0, 1.0, 0.0]);
    assert_eq!(code(index.feature(2)), "bad-option");
    let mut seen = Vec::new();
    index
        .visit_items(|path, _| {
            seen.push(path);
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, [name(0), name(1), name(2)]);
    // The earlier view has not changed.
    assert_eq!(early.info().items, 0);
    assert_eq!(early.item(&name(0)).unwrap(), None);
}

#[test]
fn more_items_than_a_page_are_all_shown() {
    let (_folder, path) = new_index(2);
    let mut writer = Writer::open(&path).unwrap();
    for number in 0..9000 {
        // All files have the same bytes.
        writer.put(&name(number), &item(0), Some(&[1.0, 0.0])).unwrap();
    }
    let mut seen = Vec::new();
    writer
        .visit_items(|path, _| {
            seen.push(path);
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, (0..9000).map(name).collect::<Vec<_>>());
    writer.commit().unwrap();
    let index = Index::open(&path).unwrap();
    let mut count = 0;
    index
        .visit_items(|path, _| {
            count += usize::from(path == name(count));
            Ok(())
        })
        .unwrap();
    assert_eq!((count, index.info().rows), (9000, 1));
    assert_eq!(index.items_of_row(0).unwrap().len(), 9000);
}

#[test]
fn a_row_follows_its_bytes() {
    let (_folder, path) = new_index(2);
    let mut writer = Writer::open(&path).unwrap();
    let (first, second) = (Path::new("first"), Path::new("second"));
    writer.put(first, &item(0), Some(&[1.0, 0.0])).unwrap();
    // The same bytes elsewhere take the same row, with and without a feature.
    assert_eq!(writer.put(second, &item(0), None).unwrap(), Some(0));
    assert_eq!(writer.put(second, &item(0), Some(&[0.0, 1.0])).unwrap(), Some(0));
    writer.commit().unwrap();
    let found = |number: usize| -> Vec<u64> {
        let index = Index::open(&path).unwrap();
        assert_eq!(index.info().dead, number as u64);
        let found = index.search(&processor(1), &[1.0, 1.0], &Default::default()).unwrap();
        found[0].hits.iter().map(|hit| hit.row).collect()
    };
    assert_eq!(found(0), [0]);
    // Files go and change until nothing has the row.
    assert!(writer.remove(first).unwrap());
    assert!(!writer.remove(first).unwrap());
    writer.commit().unwrap();
    assert_eq!(found(0), [0]);
    assert_eq!(writer.put(second, &item(1), Some(&[0.0, 1.0])).unwrap(), Some(1));
    writer.commit().unwrap();
    assert_eq!(found(1), [1]);
    // A dead row lives again when its bytes come back.
    assert_eq!(writer.put(first, &item(0), None).unwrap(), Some(0));
    writer.commit().unwrap();
    assert_eq!(found(0), [0, 1]);
    // A file that can no longer be read leaves its row.
    let unreadable = Item { unreadable: Some("gone bad".to_owned()), ..item(5) };
    assert_eq!(writer.put(first, &unreadable, None).unwrap(), None);
    writer.commit().unwrap();
    assert_eq!(found(1), [1]);
}

#[test]
fn bad_items_are_refused() {
    let (_folder, path) = new_index(2);
    let mut writer = Writer::open(&path).unwrap();
    let file = Path::new("a");
    assert_eq!(code(writer.put(file, &item(0), None)), "bad-value");
    assert_eq!(code(writer.put(file, &item(0), Some(&[1.0]))), "shape-mismatch");
    assert_eq!(code(writer.put(file, &item(0), Some(&[0.0, 0.0]))), "not-finite");
    assert_eq!(code(writer.put(file, &item(0), Some(&[f32::NAN, 0.0]))), "not-finite");
    let torn = Item { unreadable: Some("why".to_owned()), ..item(0) };
    assert_eq!(code(writer.put(file, &torn, Some(&[1.0, 0.0]))), "bad-value");
    let captioned = Item { caption: Some("a lion".to_owned()), ..torn };
    assert_eq!(code(writer.put(file, &captioned, None)), "bad-value");
    assert_eq!(code(writer.put(Path::new(""), &item(0), Some(&[1.0, 0.0]))), "bad-value");
    let long = "x".repeat(MOST_PATH_BYTES + 1);
    assert_eq!(code(writer.put(long.as_ref(), &item(0), Some(&[1.0, 0.0]))), "bad-value");
    writer.commit().unwrap();
    assert_eq!(Index::open(&path).unwrap().info().items, 0);
}

#[test]
fn one_writer_at_a_time() {
    let (_folder, path) = new_index(2);
    let writer = Writer::open(&path).unwrap();
    let error = Writer::open(&path).err().expect("locked");
    assert_eq!(error.code(), "locked");
    let expected = format!("is locked: process {} is writing to it", std::process::id());
    assert!(error.to_string().ends_with(&expected), "{error}");
    drop(writer);
    Writer::open(&path).unwrap();
}

#[test]
fn an_index_is_created_once_and_with_a_width() {
    let (_folder, path) = new_index(2);
    assert_eq!(code(Index::create(&path, NewIndex { space: space(2), model: None })), "exists");
    let other = path.with_file_name("other");
    assert_eq!(code(Index::create(&other, NewIndex { space: space(0), model: None })), "shape-mismatch");
    assert_eq!(code(Index::create(&other, NewIndex { space: space(1 << 20), model: None })), "too-large");
    assert!(!other.exists());
}
