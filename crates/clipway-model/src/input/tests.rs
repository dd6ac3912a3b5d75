//! Inputs that are no files, are too large, leave their folder or change while they are read.

use std::fs;

use clipway_formats::ReadAt;

use super::*;

fn code(result: Result<Vec<u8>, InputError>) -> &'static str {
    result.map_or_else(|error| error.code(), |_| "read")
}

#[test]
fn regular_files_up_to_the_limit_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    fs::write(&path, "{}").unwrap();
    assert_eq!(read(&path, Kind::Config).unwrap(), b"{}");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    for (over, expected) in [(0, "read"), (1, "too-large")] {
        file.set_len(Kind::Config.limit() + over).unwrap();
        assert_eq!(code(read(&path, Kind::Config)), expected);
    }
    assert_eq!(code(read(&folder.path().join("none"), Kind::Config)), "io");
    assert_eq!(code(read(folder.path(), Kind::Config)), "io");
}

/// A sparse file one byte over the limit of each kind is refused before anything is read of it.
#[test]
fn every_kind_has_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    for kind in Kind::ALL {
        let path = folder.path().join("sparse");
        let file = fs::File::create(&path).unwrap();
        if file.set_len(kind.limit() + 1).is_err() {
            assert!(kind.limit() > 1 << 40, "{kind:?}: this file system holds smaller files only");
            continue;
        }
        let error = open(&path, kind).unwrap_err();
        assert_eq!(error.code(), "too-large", "{kind:?}: {error}");
        assert!(!error.is_trouble());
    }
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let error = read(&pipe, Kind::Image).unwrap_err();
    assert!(error.to_string().ends_with("not a regular file but a pipe"), "{error}");
    assert_eq!((error.code(), error.is_trouble()), ("io", true));
    let error = read(Path::new("/dev/zero"), Kind::Texts).unwrap_err();
    assert_eq!((error.code(), error.is_trouble()), ("too-large", false));
    let inputs = Folder::open(folder.path()).unwrap();
    assert_eq!(inputs.read("pipe", Kind::Tokenizer).unwrap_err().code(), "io");
    assert!(open_lock(&pipe).is_err());
}

#[cfg(unix)]
#[test]
fn links_stay_in_their_folder_or_the_hubs_cache() {
    use std::os::unix::fs::symlink;

    let root = tempfile::tempdir().unwrap();
    let snapshot = root.path().join("cache/snapshots/0123");
    let blobs = root.path().join("cache/blobs");
    for folder in [&snapshot, &blobs] {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(root.path().join("secret.json"), "secret").unwrap();
    fs::write(blobs.join("abcd"), "blob").unwrap();
    fs::write(snapshot.join("own"), "own").unwrap();
    for (name, to) in [
        ("blob", "../../blobs/abcd"),
        ("out", "../../../secret.json"),
        ("far", "/etc/passwd"),
        ("inner", "own"),
        ("twice", "out"),
        ("nowhere", "none"),
        ("circle", "circle"),
    ] {
        symlink(to, snapshot.join(name)).unwrap();
    }
    let folder = Folder::open(&snapshot).unwrap();
    let check = |name: &str, expected: Result<&str, &str>| {
        let found =
            folder.read(name, Kind::Tokenizer).map(|bytes| String::from_utf8(bytes.unwrap()).unwrap());
        assert_eq!(found.as_deref().map_err(|error| error.code()), expected, "{name}");
    };
    check("own", Ok("own"));
    check("inner", Ok("own"));
    check("blob", Ok("blob"));
    check("out", Err("path-escape"));
    check("far", Err("path-escape"));
    check("twice", Err("path-escape"));
    check("nowhere", Err("io"));
    check("circle", Err("io"));
    assert!(folder.read("absent", Kind::Tokenizer).unwrap().is_none());
    // The same file, named by the user, is read wherever it leads.
    assert_eq!(read(&snapshot.join("out"), Kind::Config).unwrap(), b"secret");
}

#[test]
fn a_file_that_changes_under_a_reader_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    let changes: [(&str, &dyn Fn()); 3] = [
        ("rewritten in place", &|| fs::write(&path, "others!").unwrap()),
        ("longer", &|| fs::write(&path, "weights, and more").unwrap()),
        ("replaced", &|| {
            fs::write(folder.path().join("new"), "weights").unwrap();
            fs::rename(folder.path().join("new"), &path).unwrap();
        }),
    ];
    for (what, change) in changes {
        fs::write(&path, "weights").unwrap();
        // Opened in the tick of the clock in which it was written.
        let source = open(&path, Kind::Weights).unwrap();
        source.check_unchanged().unwrap();
        change();
        let error = source.check_unchanged().expect_err(what);
        assert_eq!(error.code(), "source-changed", "{what}");
        assert!(source.read_all().is_err(), "{what}");
        assert_eq!(source.size(), 7);
    }
}

#[test]
fn a_stream_is_read_up_to_the_limit() {
    assert_eq!(read_stream(&b"a\nb"[..], Kind::Texts).unwrap(), b"a\nb");
    let error = read_stream(std::io::repeat(0), Kind::Lock).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        ("too-large", "`-` has more than 1024 bytes; the limit is 1024 for a lock")
    );
}
