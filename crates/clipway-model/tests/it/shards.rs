//! Checkpoints in several files: shards that contradict their index, and links that lead to them.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use clipway_formats::{Dtype, TensorInfo, write_pytorch, write_safetensors};
use clipway_model::checkpoint::Checkpoint;

/// Writes a shard of `[2]` tensors, each filled with one value, in the format implied by its name.
fn write_shard(path: &Path, tensors: &[(&str, f32)]) {
    let info =
        |(name, _): &(&str, f32)| TensorInfo { name: (*name).to_owned(), dtype: Dtype::F32, shape: vec![2] };
    let infos: Vec<TensorInfo> = tensors.iter().map(info).collect();
    let bytes_of = |index: usize| [tensors[index].1.to_le_bytes(); 2].concat();
    let mut out = Cursor::new(Vec::new());
    if path.extension().is_some_and(|extension| extension == "bin") {
        write_pytorch(&mut out, &infos, |index, out| out.write_all(&bytes_of(index))).unwrap();
    } else {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        write_safetensors(&mut out, &infos, &[("name".to_owned(), name)], |index| Ok(bytes_of(index)))
            .unwrap();
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, out.into_inner()).unwrap();
}

/// Writes the index of a folder: each tensor and its shard.
fn write_index(folder: &Path, tensors: &[(&str, &str)]) -> PathBuf {
    let pairs: Vec<String> = tensors.iter().map(|(name, shard)| format!(r#""{name}": "{shard}""#)).collect();
    let path = folder.join("model.safetensors.index.json");
    fs::create_dir_all(folder).unwrap();
    fs::write(&path, format!(r#"{{"weight_map": {{{}}}}}"#, pairs.join(", "))).unwrap();
    path
}

/// Writes an index with two shards: `a`, all 1, and `b`, all 2.
fn write_two(folder: &Path, extension: &str) -> PathBuf {
    write_shard(&folder.join(format!("one.{extension}")), &[("a", 1.0)]);
    write_shard(&folder.join(format!("two.{extension}")), &[("b", 2.0)]);
    write_index(folder, &[("a", &format!("one.{extension}")), ("b", &format!("two.{extension}"))])
}

/// Returns the name and first value of each tensor.
fn values(path: &Path) -> Vec<(String, f32)> {
    let checkpoint = Checkpoint::open(path).unwrap_or_else(|error| panic!("{error}"));
    assert!(checkpoint.is_sharded());
    let tensors = checkpoint.tensors();
    let value = |index: usize| {
        let mut bytes = Vec::new();
        tensors.read(index, &mut bytes).unwrap();
        assert_eq!(bytes[..4], bytes[4..]);
        f32::from_le_bytes(bytes[..4].try_into().unwrap())
    };
    tensors.tensors().iter().enumerate().map(|(index, info)| (info.name.clone(), value(index))).collect()
}

#[test]
fn opens_shards_by_their_index_or_folder() {
    for extension in ["safetensors", "bin"] {
        let folder = tempfile::tempdir().unwrap();
        let index = write_two(folder.path(), extension);
        for path in [index.as_path(), folder.path()] {
            assert_eq!(values(path), [("a".to_owned(), 1.0), ("b".to_owned(), 2.0)]);
            assert_eq!(Checkpoint::open(path).unwrap().sources().len(), 3);
        }
    }
    // Shards of the same name in several folders, and tensors in the order of the index.
    let folder = tempfile::tempdir().unwrap();
    write_shard(&folder.path().join("x/1/w.safetensors"), &[("c", 3.0), ("a", 1.0)]);
    write_shard(&folder.path().join("x/2/w.safetensors"), &[("b", 2.0)]);
    let index = [("a", "x/1/w.safetensors"), ("b", "x/2/w.safetensors"), ("c", "x/1/w.safetensors")];
    let index = write_index(folder.path(), &index);
    let expected = [("a", 1.0), ("b", 2.0), ("c", 3.0)];
    assert_eq!(values(&index), expected.map(|(name, value)| (name.to_owned(), value)));
}

#[test]
fn refuses_an_index_that_leads_astray() {
    let check = |index: &str, code: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = write_two(&folder.path().join("in"), "safetensors");
        write_shard(&folder.path().join("outside.safetensors"), &[("a", 1.0)]);
        fs::write(&path, index).unwrap();
        let error = Checkpoint::open(&path).unwrap_err();
        assert_eq!(error.code(), code, "{index}: {error}");
        assert!(error.to_string().contains("in/"), "names the file: {error}");
    };
    check(r#"{"weight_map": {"a": "../outside.safetensors"}}"#, "path-escape");
    check(r#"{"weight_map": {"a": "/etc/passwd"}}"#, "path-escape");
    check(r#"{"weight_map": {"a": "https://example.org/x.safetensors"}}"#, "path-escape");
    check(r#"{"weight_map": {"a": "one.safetensors", "b": "./one.safetensors"}}"#, "path-escape");
    check(r#"{"weight_map": {"a": "none.safetensors"}}"#, "missing");
    check(r#"{"weight_map": {"a": "model.safetensors.index.json"}}"#, "malformed");
    check(r#"{"weight_map": {}}"#, "missing");
    check(r#"{"weight_map": ["a"]}"#, "bad-value");
    check("{", "truncated");
}

/// The shards exist, but one thing about them is wrong, and the message says which.
#[test]
fn tells_what_is_wrong_with_shards() {
    let check = |extension: &str, change: &dyn Fn(&Path), expected: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = write_two(folder.path(), extension);
        change(folder.path());
        let error = Checkpoint::open(&path).unwrap_err();
        let message =
            format!("{error} [{}]", error.code()).replace(&format!("{}/", folder.path().display()), "");
        assert_eq!(message, expected, "{extension}");
        assert!(message.ends_with(&format!("[{}]", error.code())), "{message}");
    };
    for extension in ["safetensors", "bin"] {
        let [one, two] = ["one", "two"].map(|stem| format!("{stem}.{extension}"));
        let rewrite = |tensors: &'static [(&'static str, f32)]| {
            let two = &two;
            move |folder: &Path| write_shard(&folder.join(two), tensors)
        };
        let index = "`model.safetensors.index.json`";
        check(
            extension,
            &rewrite(&[("a", 3.0), ("b", 2.0)]),
            &format!(
                "{index}: tensor `a`: in shard `{two}`, and also in `{one}`, as the index says [duplicate]"
            ),
        );
        check(
            extension,
            &|folder| drop(write_index(folder, &[("a", &two), ("b", &one)])),
            &format!(
                "{index}: tensor `b`: in shard `{two}`, but the index says it is in `{one}` [malformed]"
            ),
        );
        check(
            extension,
            &rewrite(&[("b", 2.0), ("c", 3.0)]),
            &format!("{index}: tensor `c`: in shard `{two}`, but the index does not name it [malformed]"),
        );
        check(
            extension,
            &|folder| {
                fs::copy(folder.join("model.safetensors.index.json"), folder.join(&two)).unwrap();
            },
            &format!("{index}: file: expected a shard, found another index (in shard `{two}`) [malformed]"),
        );
        check(
            extension,
            &|folder| fs::remove_file(folder.join(&two)).unwrap(),
            &format!("{index}: file: No such file or directory (os error 2) (in shard `{two}`) [missing]"),
        );
    }
    let cut = |folder: &Path| {
        let path = folder.join("two.safetensors");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
    };
    check(
        "safetensors",
        &cut,
        "`model.safetensors.index.json`: tensor `b`: its range is 0 to 8, but the file has only 5 bytes after the header (in \
         shard `two.safetensors`) [truncated]",
    );
    let nothing = |folder: &Path| write_shard(&folder.join("two.safetensors"), &[]);
    check(
        "safetensors",
        &nothing,
        "`model.safetensors.index.json`: tensor `b`: the index says it is in `two.safetensors`, but it is not [missing]",
    );
    let mixed = |folder: &Path| {
        write_shard(&folder.join("two.bin"), &[("b", 2.0)]);
        fs::rename(folder.join("two.bin"), folder.join("two.safetensors")).unwrap();
    };
    check(
        "safetensors",
        &mixed,
        "`model.safetensors.index.json`: file: shard `two.safetensors`: is PyTorch zip, but the first shard is \
         safetensors [malformed]",
    );
}

/// A flipped bit in a shard with checksums is detected when its tensor is read.
#[test]
fn a_flipped_bit_is_told_with_its_shard() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_two(folder.path(), "bin");
    let shard = folder.path().join("two.bin");
    let mut bytes = fs::read(&shard).unwrap();
    let weights = [2f32.to_le_bytes(); 2].concat();
    let place = bytes.windows(weights.len()).position(|window| window == weights).unwrap();
    bytes[place] ^= 1;
    fs::write(&shard, bytes).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    let mut out = Vec::new();
    checkpoint.tensors().read(0, &mut out).unwrap();
    let error = checkpoint.tensors().read(1, &mut out).unwrap_err();
    assert_eq!(error.code.name(), "checksum");
    assert!(error.to_string().contains("(in shard `two.bin`)"), "{error}");
}

#[cfg(unix)]
#[test]
fn links_stay_in_the_folder_or_its_cache() {
    use std::os::unix::fs::symlink;
    let check = |place: &str, target: &str, opens: bool| {
        let root = tempfile::tempdir().unwrap();
        for folder in ["cache/snapshots/1234/sub", "cache/snap", "cache/blobs", "other/blobs"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        write_shard(&root.path().join(target), &[("a", 1.0)]);
        let folder = root.path().join(place);
        symlink(root.path().join(target), folder.join("one.safetensors")).unwrap();
        let index = write_index(&folder, &[("a", "one.safetensors")]);
        match Checkpoint::open(&index) {
            Ok(_) => assert!(opens, "{place} to {target}"),
            Err(error) => {
                assert!(!opens, "{place} to {target}: {error}");
                assert_eq!(error.code(), "path-escape");
                let expected = "shard `one.safetensors` is a link that leaves the folder of the index";
                assert!(error.to_string().contains(expected), "{error}");
            }
        }
    };
    check("cache/snapshots/1234", "cache/blobs/abcd", true);
    check("cache/snapshots/1234/sub", "cache/blobs/abcd", true);
    check("cache/snap", "cache/blobs/abcd", true);
    check("cache/snap", "cache/snap/there.safetensors", true);
    check("cache/snap", "other/blobs/abcd", false);
    check("cache/snap", "outside.safetensors", false);
    check("cache/snapshots/1234", "cache/config.safetensors", false);
}

/// The Hub's cache as it is on disk: relative links into `blobs`, including that of the index.
#[cfg(unix)]
#[test]
fn opens_a_snapshot_of_the_hub_s_cache() {
    use std::os::unix::fs::symlink;
    let root = tempfile::tempdir().unwrap();
    let blobs = root.path().join("models--owner--name/blobs");
    let snapshot = root.path().join("models--owner--name/snapshots/0123abcd");
    write_two(&blobs, "safetensors");
    fs::create_dir_all(&snapshot).unwrap();
    for (number, name) in
        ["one.safetensors", "two.safetensors", "model.safetensors.index.json"].into_iter().enumerate()
    {
        fs::rename(blobs.join(name), blobs.join(format!("{number:064}"))).unwrap();
        symlink(format!("../../blobs/{number:064}"), snapshot.join(name)).unwrap();
    }
    let expected = [("a".to_owned(), 1.0), ("b".to_owned(), 2.0)];
    assert_eq!(values(&snapshot), expected);
    assert_eq!(values(&snapshot.join("model.safetensors.index.json")), expected);
    // The folder itself may be a link.
    let link = root.path().join("model");
    symlink(&snapshot, &link).unwrap();
    assert_eq!(values(&link), expected);
}

/// Links on the way, and places that are not files: none is followed out of the folder, waited for or read endlessly.
#[cfg(unix)]
#[test]
fn refuses_links_and_places_that_are_no_shards() {
    use std::os::unix::fs::symlink;
    let check = |shard: &str, make: &dyn Fn(&Path), code: &str, part: &str| {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("in");
        write_shard(&root.path().join("outside.safetensors"), &[("a", 1.0)]);
        let index = write_index(&folder, &[("a", shard)]);
        make(&folder);
        let error = Checkpoint::open(&index).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(part), "{error} does not say `{part}`");
        assert!(error.to_string().starts_with(&format!("`{}`: ", index.display())), "{error}");
        assert!(error.to_string().contains(&format!("shard `{shard}`")), "{error}");
    };
    let escapes = "is a link that leaves the folder of the index";
    let over_a_step = |folder: &Path| {
        symlink("step", folder.join("one.safetensors")).unwrap();
        symlink("../outside.safetensors", folder.join("step")).unwrap();
    };
    check("one.safetensors", &over_a_step, "path-escape", escapes);
    let folder_above = |folder: &Path| symlink("..", folder.join("up")).unwrap();
    check("up/outside.safetensors", &folder_above, "path-escape", escapes);
    let device = |folder: &Path| symlink("/dev/zero", folder.join("one.safetensors")).unwrap();
    check("one.safetensors", &device, "path-escape", escapes);
    let circle = |folder: &Path| symlink("one.safetensors", folder.join("one.safetensors")).unwrap();
    check("one.safetensors", &circle, "malformed", "Too many levels of symbolic links");
    let nowhere = |folder: &Path| symlink("none", folder.join("one.safetensors")).unwrap();
    check("one.safetensors", &nowhere, "missing", "No such file");
    let is_folder = |folder: &Path| fs::create_dir(folder.join("one.safetensors")).unwrap();
    check(
        "one.safetensors",
        &is_folder,
        "malformed",
        "not a regular file but a folder (in shard `one.safetensors`)",
    );
}
