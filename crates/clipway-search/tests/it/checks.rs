//! Checks and merges.

use std::fs;

use clipway_search::{Check, Index, Item, NewIndex, Writer, check, merge};

use crate::{Draw, code, fill, item, name, new_index, processor, space};

const WIDTH: usize = 24;

#[test]
fn a_whole_index_passes_and_its_recall_is_measured() {
    let (_folder, path) = new_index(WIDTH);
    fill(&path, &Draw(1).feature(700 * WIDTH));
    let mut writer = Writer::open(&path).unwrap();
    writer.remove(&name(3)).unwrap();
    writer.put(&name(700), &item(5), None).unwrap();
    let unreadable = Item { unreadable: Some("why".to_owned()), ..Item::default() };
    writer.put(&name(701), &unreadable, None).unwrap();
    writer.put(&name(702), &item(702), Some(&Draw(2).feature(WIDTH))).unwrap();
    writer.commit().unwrap();
    assert_eq!(code(check(&path, &processor(1))), "locked");
    drop(writer);
    let Check { rows, items, problems, recall_at_10, samples } = check(&path, &processor(2)).unwrap();
    assert_eq!((rows, items, problems.len()), (701, 702, 0), "{problems:?}");
    assert_eq!((recall_at_10, samples), (Some(1.0), 32));
}

#[test]
fn each_damaged_byte_of_rows_is_found() {
    let (_folder, path) = new_index(WIDTH);
    fill(&path, &Draw(3).feature(50 * WIDTH));
    for (file, at) in
        [("rows.i8", 70), ("rows.i8", 127), ("rows.scale", 9), ("rows.f16", 5), ("rows.f16", 63)]
    {
        let good = fs::read(path.join(file)).unwrap();
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        fs::write(path.join(file), &bytes).unwrap();
        let found = check(&path, &processor(1)).unwrap();
        let expected = format!("`{file}`: rows 0 to 50 do not have their checksum");
        assert!(found.problems.contains(&expected), "{file} {at}: {:?}", found.problems);
        assert_eq!(found.recall_at_10, None);
        fs::write(path.join(file), good).unwrap();
    }
    assert_eq!(check(&path, &processor(1)).unwrap().problems, [""; 0]);
    // Rows and items of two moments.
    let early = fs::read(path.join("items.redb")).unwrap();
    let mut writer = Writer::open(&path).unwrap();
    writer.put(&name(50), &item(50), Some(&Draw(4).feature(WIDTH))).unwrap();
    writer.commit().unwrap();
    drop(writer);
    fs::write(path.join("items.redb"), early).unwrap();
    assert_eq!(check(&path, &processor(1)).unwrap().rows, 50);
    // A database with a changed page.
    let mut bytes = fs::read(path.join("items.redb")).unwrap();
    let places: Vec<usize> =
        (0..bytes.len() - 13).filter(|at| &bytes[*at..*at + 13] == b"images/000020").collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| bytes[at] ^= 1);
    fs::write(path.join("items.redb"), bytes).unwrap();
    assert_eq!(code(check(&path, &processor(1))), "malformed");
}

#[test]
fn indices_of_one_space_are_merged() {
    let (folder, one) = new_index(WIDTH);
    let features = Draw(5).feature(60 * WIDTH);
    fill(&one, &features[..40 * WIDTH]);
    let two = folder.path().join("two");
    Index::create(&two, NewIndex { space: space(WIDTH), model: None }).unwrap();
    let mut writer = Writer::open(&two).unwrap();
    for number in 30..60 {
        let feature = &features[number * WIDTH..][..WIDTH];
        // Five of the same names have other bytes, and were added later.
        let item = if number < 35 { Item { added: 9, ..item(number + 1000) } } else { item(number) };
        writer.put(&name(number), &item, Some(feature)).unwrap();
    }
    writer.commit().unwrap();
    writer.remove(&name(59)).unwrap();
    writer.commit().unwrap();
    drop(writer);
    let out = folder.path().join("out");
    let merged = merge(&out, &[one.clone(), two.clone()]).unwrap();
    assert_eq!((merged.rows, merged.items, merged.in_several), (64, 59, 10));
    let index = Index::open(&out).unwrap();
    assert_eq!(index.item(&name(32)).unwrap().unwrap().added, 9);
    assert_eq!(index.info().dead, 5);
    for number in [0, 32, 37, 58] {
        let query = &features[number * WIDTH..][..WIDTH];
        let hits = &index.search(&processor(1), query, &Default::default()).unwrap()[0].hits;
        let found = index.items_of_row(hits[0].row).unwrap();
        assert_eq!(found[0].0, name(number));
    }
    drop(index);
    assert_eq!(check(&out, &processor(1)).unwrap().problems, [""; 0]);

    assert_eq!(code(merge(&out, std::slice::from_ref(&one))), "exists");
    let other = folder.path().join("other");
    let mut space = space(WIDTH);
    space.fingerprint = "fedcba9876543210".to_owned();
    Index::create(&other, NewIndex { space, model: None }).unwrap();
    let target = folder.path().join("target");
    assert_eq!(code(merge(&target, &[one.clone(), other])), "other-space");
    assert_eq!(code(merge(&target, &[])), "bad-option");
    assert!(!target.exists());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "nothing temporary is left");
}
