//! Filling an index, and what a second run does to it.

use std::fs;

use clipway_index::{Summary, WalkOptions};
use clipway_run::cosine;
use glob::Pattern;

use crate::made::{Place, bmp, pictures, tar};

#[test]
fn images_are_embedded_once_and_known_by_their_features() {
    let place = Place::new();
    for path in pictures() {
        place.write(path.file_name().unwrap().to_str().unwrap(), &fs::read(&path).unwrap());
    }
    let count = pictures().len() as u64;
    let first = place.fill();
    assert_eq!(first, Summary { images: count, embedded: count, ..Summary::default() });
    assert!(first.is_whole());
    let index = place.index();
    assert_eq!((index.info().items, index.info().rows, index.info().dead), (count, count, 0));
    for path in pictures() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let item = place.item(name).unwrap();
        let own = place.feature(&fs::read(&path).unwrap());
        assert!(cosine(&index.feature(item.row.unwrap()).unwrap(), &own) > 0.999_999, "{name}");
        assert!(item.width > 0 && item.height > 0 && item.size > 0 && item.added > 1_700_000_000);
    }
    assert_eq!(place.fill(), Summary { images: count, unchanged: count, ..Summary::default() });
}

#[test]
fn what_moved_or_was_touched_or_copied_keeps_its_vector() {
    let place = Place::new();
    for number in 0..40 {
        place.write(&format!("old/{number}.bmp"), &bmp(number));
    }
    assert_eq!(place.fill().embedded, 40);
    let before = place.item("old/7.bmp").unwrap();
    fs::rename(place.at("old"), place.at("new")).unwrap();
    place.write("copy of 3.bmp", &bmp(3));
    let moved = place.fill();
    let expected = Summary { images: 41, reused: 41, removed: 40, ..Summary::default() };
    assert_eq!(moved, expected);
    assert_eq!(place.item("old/7.bmp"), None);
    assert_eq!(place.item("new/7.bmp").unwrap(), before, "row, size, hash, and when it was added");
    assert_eq!(place.item("copy of 3.bmp").unwrap().row, place.item("new/3.bmp").unwrap().row);
    assert_eq!((place.index().info().rows, place.index().info().dead), (40, 0));

    place.touch("new/7.bmp", 2000);
    assert_eq!(place.fill(), Summary { images: 41, unchanged: 40, reused: 1, ..Summary::default() });
    place.write("new/7.bmp", &bmp(99));
    place.touch("new/7.bmp", 3000);
    let changed = place.fill();
    assert_eq!(changed, Summary { images: 41, unchanged: 40, embedded: 1, ..Summary::default() });
    assert_ne!(place.item("new/7.bmp").unwrap().row, before.row);
    assert_eq!(place.index().info().dead, 1);
    fs::remove_file(place.at("new/7.bmp")).unwrap();
    assert_eq!(place.fill(), Summary { images: 40, unchanged: 40, removed: 1, ..Summary::default() });
}

#[test]
fn equal_bytes_are_embedded_once_in_one_run() {
    let place = Place::new();
    for number in 0..100 {
        place.write(&format!("{number:03}.bmp"), &bmp(number % 5));
    }
    let found = place.fill();
    assert_eq!(found, Summary { images: 100, embedded: 5, reused: 95, ..Summary::default() });
    assert_eq!((place.index().info().rows, place.index().info().items), (5, 100));
}

#[test]
fn unreadable_images_say_why_and_are_tried_again_when_they_change() {
    let place = Place::new();
    place.write("good.bmp", &bmp(1));
    place.write("torn.bmp", &bmp(2)[..100]);
    place.write("torn too.bmp", &bmp(2)[..100]);
    place.write("empty.png", b"");
    place.write("phone.JXL", b"x");
    place.write("notes.txt", b"x");
    let first = place.fill();
    let unsupported = [("jxl".to_owned(), 1)].into();
    let expected = Summary { images: 4, embedded: 1, unreadable: 3, unsupported, ..Summary::default() };
    assert_eq!(first, expected);
    assert!(!first.is_whole());
    let reason = place.item("torn.bmp").unwrap().unreadable.unwrap();
    assert!(reason.contains("truncated"), "{reason}");
    assert_eq!(place.item("torn too.bmp").unwrap().unreadable, Some(reason));
    let again = place.fill();
    assert_eq!((again.unchanged, again.still_unreadable, again.unreadable), (4, 3, 0));
    place.write("torn.bmp", &bmp(2));
    place.touch("torn.bmp", 2000);
    let mended = place.fill();
    assert_eq!((mended.embedded, mended.unchanged, mended.still_unreadable), (1, 3, 2));
    assert_eq!(place.item("torn.bmp").unwrap().unreadable, None);
}

#[cfg(unix)]
#[test]
fn what_cannot_be_walked_or_is_not_mounted_is_not_forgotten() {
    let place = Place::new();
    for number in 0..3 {
        place.write(&format!("disk/{number}.bmp"), &bmp(number));
        place.write(&format!("other/{number}.bmp"), &bmp(10 + number));
    }
    let roots = [place.at("disk"), place.at("other")];
    assert_eq!(place.fill_with(&roots, &WalkOptions::default(), &()).embedded, 6);
    fs::rename(place.at("disk"), place.at("away")).unwrap();
    let gone = place.fill_with(&roots, &WalkOptions::default(), &());
    assert_eq!((gone.unchanged, gone.kept, gone.removed), (3, 0, 0));
    assert_eq!(gone.not_walked, [place.at("disk")]);
    assert!(!gone.is_whole());
    // The place where a disk was mounted is an empty folder.
    fs::create_dir(place.at("disk")).unwrap();
    let empty = place.fill_with(&roots, &WalkOptions::default(), &());
    assert_eq!((empty.unchanged, empty.kept, empty.removed), (3, 3, 0));
    assert_eq!(empty.empty, [place.at("disk")]);
    assert_eq!(place.index().info().items, 6);
    // A folder that is gone below one that was walked is gone.
    fs::remove_dir(place.at("disk")).unwrap();
    let walked = place.fill();
    assert_eq!((walked.removed, walked.reused, walked.embedded), (3, 3, 0));
}

#[test]
fn members_of_archives_are_images() {
    let place = Place::new();
    let members: Vec<(String, Vec<u8>)> =
        (0..50).map(|number| (format!("{number:05}.bmp"), bmp(number))).collect();
    let mut files: Vec<(&str, &[u8])> =
        members.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    files.push(("00000.txt", b"a caption"));
    files.push(("00000.json", b"{}"));
    files.push(("00051.jxl", b"x"));
    place.write("00000.tar", &tar(&files));
    place.write("00001.tar.gz", b"x");
    let first = place.fill();
    let unsupported: std::collections::BTreeMap<_, _> =
        [("jxl".to_owned(), 1), ("compressed tar".to_owned(), 1)].into();
    let expected = Summary { images: 50, embedded: 50, unsupported, ..Summary::default() };
    assert_eq!(first, expected);
    let item = place.item("00000.tar/00007.bmp").unwrap();
    let found = place.index().feature(item.row.unwrap()).unwrap();
    assert!(cosine(&found, &place.feature(&bmp(7))) > 0.999_999);
    assert_eq!(place.fill().unchanged, 50);
    // Touched: hashed again, and nothing is embedded. Cut: nothing is forgotten.
    place.touch("00000.tar", 2000);
    assert_eq!(place.fill().reused, 50);
    let whole = tar(&files);
    place.write("00000.tar", &whole[..whole.len() / 2]);
    let cut = place.fill();
    assert_eq!((cut.kept, cut.removed, cut.images), (50, 0, 0));
    assert_eq!(cut.not_walked, [place.at("00000.tar")]);
    place.write("00000.tar", &tar(&files[..10]));
    place.touch("00000.tar", 3000);
    let shorter = place.fill();
    assert_eq!((shorter.reused, shorter.removed), (10, 40));
}

#[test]
fn members_of_archives_have_captions() {
    let place = Place::new();
    let images: Vec<Vec<u8>> = (0..7).map(bmp).collect();
    let long = "é".repeat(3000);
    let mut files: Vec<(&str, &[u8])> = vec![
        // Before its image, and after it; the key ends at the first dot.
        ("a/0.txt", b"  two lions\n"),
        ("a/0.bmp", &images[0]),
        ("a/1.small.bmp", &images[1]),
        ("a/1.TXT", b"a \xff lion"),
        ("b/0.bmp", &images[2]),
        ("2.bmp", &images[3]),
        ("2.txt", b" \n"),
        ("3.bmp", &images[4]),
        ("3.txt", long.as_bytes()),
        // The same bytes as another image, with another caption; and bytes that are no image.
        ("4.bmp", &images[0]),
        ("4.txt", b"the same lions"),
        ("5.bmp", b"no image"),
        ("5.txt", b"a caption"),
        ("5.note.txt", b"no caption"),
    ];
    place.write("x.tar", &tar(&files));
    assert_eq!(place.fill().embedded, 5);
    let caption = |name: &str| place.item(&format!("x.tar/{name}")).expect("an item").caption;
    let expected = |text: &str| Some(text.to_owned());
    assert_eq!(caption("a/0.bmp"), expected("two lions"));
    assert_eq!(caption("a/1.small.bmp"), expected("a \u{fffd} lion"));
    assert_eq!(caption("b/0.bmp"), None);
    assert_eq!(caption("2.bmp"), None);
    assert_eq!(caption("3.bmp"), Some("é".repeat(2048)));
    assert_eq!(caption("4.bmp"), expected("the same lions"));
    assert_eq!(caption("5.bmp"), None);
    // A caption that changes is read again, and nothing is embedded.
    files[0].1 = b"three lions";
    place.write("x.tar", &tar(&files));
    place.touch("x.tar", 2000);
    assert_eq!(place.fill().embedded, 0);
    assert_eq!(caption("a/0.bmp"), expected("three lions"));
}

#[test]
fn a_stopped_run_keeps_what_it_did_and_forgets_nothing() {
    let place = Place::new();
    place.write("gone.bmp", &bmp(1000));
    place.fill();
    fs::remove_file(place.at("gone.bmp")).unwrap();
    for number in 0..200 {
        place.write(&format!("{number:03}.bmp"), &bmp(number));
    }
    let stopped = place.fill_until(32);
    assert!(stopped.interrupted && !stopped.is_whole());
    assert!((32..200).contains(&stopped.embedded), "{stopped:?}");
    assert_eq!(stopped.removed, 0);
    assert_eq!(place.index().info().items, stopped.embedded + 1);
    let rest = place.fill();
    assert_eq!((rest.embedded, rest.unchanged, rest.removed), (200 - stopped.embedded, stopped.embedded, 1));
    assert_eq!(place.index().info().rows, 201, "nothing was embedded twice");
}

#[test]
fn what_is_left_out_later_leaves_the_index() {
    let place = Place::new();
    place.write("a.bmp", &bmp(1));
    place.write("thumbnails/a.bmp", &bmp(2));
    assert_eq!(place.fill().embedded, 2);
    let options =
        WalkOptions { exclude: vec![Pattern::new("thumbnails").unwrap()], ..WalkOptions::default() };
    let found = place.fill_with(&[place.at("")], &options, &());
    assert_eq!((found.images, found.unchanged, found.removed), (1, 1, 1));
}
