//! Outputs: refusals, failures and deaths at every step, concurrent runs.

mod deaths;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;

/// Names and contents of all files below a folder, including the folders themselves.
fn contents(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = PathBuf::from(path.file_name().unwrap());
        if path.is_dir() {
            found.extend(contents(&path).into_iter().map(|(below, text)| (name.join(below), text)));
            found.insert(name, "(folder)".to_owned());
        } else {
            found.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
    found
}

/// What [`write`] creates.
const MADE: Listing = Listing(|folder| {
    let is_artifact = folder.join("clipway.json").is_file();
    let names = ["clipway.json", "weights"].map(str::to_owned).to_vec();
    if is_artifact { Ok(names) } else { Err("no artifact".to_owned()) }
});

fn options(kind: TargetKind, force: bool) -> OutputOptions {
    OutputOptions { kind, force, listing: MADE, hook: StepHook::default() }
}

/// Writes an output whose every file says `text`.
fn write(target: &Path, options: OutputOptions, text: &str) -> Result<Placed, OutputError> {
    let kind = options.kind;
    let staging = Staging::create(target, options)?;
    if kind == TargetKind::File {
        let file = staging.single_file()?;
        file.write_all_at(0, text.as_bytes())?;
    } else {
        for name in ["clipway.json", "weights"] {
            let file = staging.file(name)?;
            (&*file).write_all(text.as_bytes()).map_err(OutputError::io("write", file.path()))?;
        }
    }
    staging.commit()
}

/// What [`write`] creates in the folder around the target `out`.
fn expected(kind: TargetKind, text: Option<&str>) -> BTreeMap<PathBuf, String> {
    let Some(text) = text else { return BTreeMap::new() };
    let names: &[(&str, &str)] = match kind {
        TargetKind::File => &[("out", text)],
        TargetKind::Folder => &[("out", "(folder)"), ("out/clipway.json", text), ("out/weights", text)],
    };
    names.iter().map(|&(name, text)| (PathBuf::from(name), text.to_owned())).collect()
}

/// A hook that calls `act` at step `fatal` of the run, counted from 0; without exchanges, if `plain`.
fn hook_at(
    fatal: usize,
    plain: bool,
    act: impl Fn() -> io::Result<()> + Send + Sync + 'static,
) -> (StepHook, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let hook = StepHook::new(move |step, _| {
        if counter.fetch_add(1, Ordering::Relaxed) == fatal {
            act()?;
        }
        if plain && step == Step::Exchange { Err(io::ErrorKind::Unsupported.into()) } else { Ok(()) }
    });
    (hook, count)
}

/// Every way to place an output: its kind, whether an old one exists, whether exchanges are unavailable.
const WAYS: [(TargetKind, bool, bool); 5] = [
    (TargetKind::Folder, false, false),
    (TargetKind::Folder, true, false),
    (TargetKind::Folder, true, true),
    (TargetKind::File, false, false),
    (TargetKind::File, true, false),
];

#[test]
fn outputs_are_placed_and_replaced() {
    for (kind, replace, plain) in WAYS {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        for text in if replace { &["old", "new"][..] } else { &["new"] } {
            let (hook, _) = hook_at(usize::MAX, plain, || Ok(()));
            let placed = write(&target, OutputOptions { hook, ..options(kind, replace) }, text).unwrap();
            assert!(placed.leftover.is_none(), "{placed:?}");
        }
        assert_eq!(contents(folder.path()), expected(kind, Some("new")), "{kind:?} {replace} {plain}");
    }
}

#[test]
fn what_must_not_be_replaced_is_refused() {
    let check = |kind: TargetKind, force: bool, make: &dyn Fn(&Path), expected: &str| {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        make(&target);
        let before = contents(folder.path());
        let error = write(&target, options(kind, force), "new").expect_err(expected);
        let message =
            error.to_string().replace(&*fs::canonicalize(folder.path()).unwrap().to_string_lossy(), "");
        assert_eq!(message, expected);
        assert_eq!(contents(folder.path()), before);
    };
    let folder_with = |name: &'static str| {
        move |target: &Path| {
            fs::create_dir(target).unwrap();
            fs::write(target.join(name), "mine").unwrap();
        }
    };
    let file = |target: &Path| fs::write(target, "mine").unwrap();
    use TargetKind::{File, Folder};
    check(Folder, false, &folder_with("clipway.json"), "`/out` exists");
    check(
        Folder,
        true,
        &folder_with("thesis"),
        "refusing to replace `/out`: it contains `thesis`, which no export wrote",
    );
    // One foreign entry is enough, be it a file, a folder or a link beside what an export wrote.
    let artifact_with = |make: &'static dyn Fn(&Path)| {
        move |target: &Path| {
            fs::create_dir(target).unwrap();
            for name in ["clipway.json", "weights"] {
                fs::write(target.join(name), "old").unwrap();
            }
            make(target);
        }
    };
    let thesis = artifact_with(&|target| fs::write(target.join("thesis"), "mine").unwrap());
    check(Folder, true, &thesis, "refusing to replace `/out`: it contains `thesis`, which no export wrote");
    let git = artifact_with(&|target| {
        fs::create_dir_all(target.join(".git/refs")).unwrap();
        fs::create_dir_all(target.join("weights-of-mine")).unwrap();
    });
    check(
        Folder,
        true,
        &git,
        "refusing to replace `/out`: it contains `.git`, `weights-of-mine`, which no export wrote",
    );
    let below = artifact_with(&|target| {
        fs::remove_file(target.join("weights")).unwrap();
        fs::create_dir(target.join("weights")).unwrap();
    });
    check(Folder, true, &below, "refusing to replace `/out`: it contains `weights`, which no export wrote");
    let many = artifact_with(&|target| {
        (0..12).for_each(|number| fs::write(target.join(format!("{number:02}")), "mine").unwrap());
    });
    let first: Vec<String> = (0..10).map(|number| format!("`{number:02}`")).collect();
    check(
        Folder,
        true,
        &many,
        &format!(
            "refusing to replace `/out`: it contains {} and 2 more, which no export wrote",
            first.join(", ")
        ),
    );
    check(Folder, true, &file, "refusing to replace `/out`: it is not a folder");
    check(File, true, &folder_with("clipway.json"), "refusing to replace `/out`: it is not a file");
    check(File, false, &file, "`/out` exists");
    let folder = tempfile::tempdir().unwrap();
    for target in ["absent/../out", "..", "/"] {
        assert!(write(&folder.path().join(target), options(Folder, true), "new").is_err(), "{target}");
    }
    let staging = Staging::create(&folder.path().join("out"), options(Folder, false)).unwrap();
    for name in ["", ".", "..", "a/../b", "/a", "a\\b", "a:b", "a\0"] {
        assert!(matches!(staging.file(name), Err(OutputError::BadTarget { .. })), "{name:?}");
    }
    assert!(staging.file("a").is_ok() && staging.file("a").is_err(), "a name twice");
    drop(staging);
    assert_eq!(contents(folder.path()), BTreeMap::new());
}

#[test]
fn an_empty_folder_is_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("out");
    fs::create_dir(&target).unwrap();
    write(&target, options(TargetKind::Folder, false), "new").unwrap();
    assert_eq!(contents(folder.path()), expected(TargetKind::Folder, Some("new")));
}

#[test]
fn folders_above_are_made_and_removed_again_after_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    for kind in [TargetKind::Folder, TargetKind::File] {
        let target = folder.path().join("a/b/out");
        drop(Staging::create(&target, options(kind, false)).unwrap());
        assert_eq!(contents(folder.path()), BTreeMap::new(), "{kind:?}");
        let hook = StepHook::new(|step, _| match step {
            Step::Sync => Err(io::Error::other("injected")),
            _ => Ok(()),
        });
        assert!(write(&target, OutputOptions { hook, ..options(kind, false) }, "new").is_err());
        assert_eq!(contents(folder.path()), BTreeMap::new(), "{kind:?}");
        write(&target, options(kind, false), "new").unwrap();
        assert_eq!(contents(&folder.path().join("a/b")), expected(kind, Some("new")));
        fs::remove_dir_all(folder.path().join("a")).unwrap();
    }
    // A folder that existed before stays, and so does what another run has put into a new one.
    fs::create_dir(folder.path().join("a")).unwrap();
    let staging = Staging::create(&folder.path().join("a/b/out"), options(TargetKind::File, false)).unwrap();
    fs::write(folder.path().join("a/b/other"), "other").unwrap();
    drop(staging);
    assert_eq!(fs::read_to_string(folder.path().join("a/b/other")).unwrap(), "other");
}

/// A file added to the old folder at the last moment is not removed with it.
#[test]
fn what_comes_into_the_old_folder_at_the_last_moment_is_kept() {
    for plain in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        write(&target, options(TargetKind::Folder, false), "old").unwrap();
        let late = target.join("thesis");
        let once = AtomicUsize::new(0);
        let hook = StepHook::new(move |step, _| {
            if step == Step::Exchange && once.fetch_add(1, Ordering::Relaxed) == 0 {
                fs::write(&late, "mine")?;
                return if plain { Err(io::ErrorKind::Unsupported.into()) } else { Ok(()) };
            }
            if plain && step == Step::Exchange { Err(io::ErrorKind::Unsupported.into()) } else { Ok(()) }
        });
        let error =
            write(&target, OutputOptions { hook, ..options(TargetKind::Folder, true) }, "new").unwrap_err();
        assert_eq!(error.code(), "not-replaceable", "{error}");
        let mut expected = expected(TargetKind::Folder, Some("old"));
        expected.insert("out/thesis".into(), "mine".to_owned());
        assert_eq!(contents(folder.path()), expected, "{plain}");
    }
}

#[test]
fn runs_at_the_same_time_leave_one_whole_output() {
    for (kind, force) in [
        (TargetKind::Folder, false),
        (TargetKind::Folder, true),
        (TargetKind::File, false),
        (TargetKind::File, true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let winners = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for name in ["a", "b", "c", "d", "e", "f"] {
                let (target, winners) = (&target, &winners);
                scope.spawn(move || match write(target, options(kind, force), name) {
                    Ok(placed) => {
                        assert!(placed.leftover.is_none(), "{placed:?}");
                        winners.lock().unwrap().push(name);
                    }
                    Err(error) => assert!(!force && matches!(error, OutputError::Exists { .. }), "{error}"),
                });
            }
        });
        let winners = winners.into_inner().unwrap();
        assert_eq!(winners.len(), if force { 6 } else { 1 }, "{kind:?} {force}");
        let found = contents(folder.path());
        assert!(winners.iter().any(|name| found == expected(kind, Some(name))), "{winners:?}: {found:?}");
    }
}

#[test]
fn a_target_that_comes_at_the_last_moment_is_not_replaced() {
    for kind in [TargetKind::File, TargetKind::Folder] {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let late = target.clone();
        let hook = StepHook::new(move |step, path| match step {
            Step::Rename if path.ends_with("out") => {
                write(&late, options(kind, false), "other").map_or_else(|error| panic!("{error}"), |_| Ok(()))
            }
            _ => Ok(()),
        });
        let result = write(&target, OutputOptions { hook, ..options(kind, false) }, "new");
        assert!(matches!(result, Err(OutputError::Exists { .. })), "{result:?}");
        assert_eq!(contents(folder.path()), expected(kind, Some("other")));
    }
}

#[test]
fn a_target_that_never_rests_is_an_error() {
    for (kind, forced) in [(TargetKind::Folder, true), (TargetKind::File, false)] {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let hook = StepHook::new(|step, path| match step {
            Step::Rename if path.ends_with("out") => Err(io::ErrorKind::AlreadyExists.into()),
            _ => Ok(()),
        });
        let error = write(&target, OutputOptions { hook, ..options(kind, forced) }, "new").unwrap_err();
        assert!(error.to_string().starts_with("cannot move into place `"), "{error}");
        assert!(error.to_string().ends_with("out`: other runs keep changing it"), "{error}");
        assert_eq!(contents(folder.path()), BTreeMap::new());
    }
}

#[test]
fn a_living_run_is_not_cleaned_away() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("out");
    let first = Staging::create(&target, options(TargetKind::Folder, true)).unwrap();
    write(&target, options(TargetKind::Folder, true), "second").unwrap();
    assert!(first.folder().is_dir());
    drop(first);
    assert_eq!(contents(folder.path()), expected(TargetKind::Folder, Some("second")));
    let other = folder.path().join(".out.clipway-notes.tmp");
    fs::write(&other, "mine").unwrap();
    write(&target, options(TargetKind::Folder, true), "third").unwrap();
    assert!(other.exists(), "only names with an identity are temporary");
}

#[test]
fn long_names_are_fine() {
    for name in ["é".repeat(127), "x".repeat(255)] {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join(&name), options(TargetKind::File, false), "new").unwrap();
        assert_eq!(contents(folder.path()), BTreeMap::from([(PathBuf::from(name), "new".to_owned())]));
    }
}

#[test]
fn threads_write_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("out");
    let staging = Staging::create(&target, options(TargetKind::File, false)).unwrap();
    let file = staging.single_file().unwrap();
    file.set_length(8000).unwrap();
    thread::scope(|scope| {
        for part in 0..8u8 {
            let file = &file;
            scope.spawn(move || file.write_all_at(1000 * u64::from(part), &[b'a' + part; 1000]).unwrap());
        }
    });
    staging.sync().unwrap();
    let expected: Vec<u8> = (0..8).flat_map(|part| [b'a' + part; 1000]).collect();
    assert_eq!(fs::read(file.path()).unwrap(), expected, "reading back before the commit");
    staging.commit().unwrap();
    assert_eq!(fs::read(&target).unwrap(), expected);
}

#[cfg(unix)]
#[test]
fn modes_and_links_are_kept() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let set = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for kind in [TargetKind::File, TargetKind::Folder] {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("real"), folder.path().join("link"));
        symlink("real", &link).unwrap();
        assert!(write(&link, options(kind, true), "old").is_err(), "a link to nothing");
        write(&target, options(kind, false), "old").unwrap();
        let inner = if kind == TargetKind::File { target.clone() } else { target.join("weights") };
        set(&inner, 0o640);
        let outer = if kind == TargetKind::File { 0o640 } else { 0o510 };
        set(&target, outer);
        write(&link, options(kind, true), "new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!((mode(&target), mode(&inner)), (outer, 0o640), "{kind:?}");
        assert_eq!(fs::read_to_string(&inner).unwrap(), "new");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "no leftovers, even of a read-only folder"
        );
        set(&target, 0o700);
    }
}

#[test]
fn outputs_and_sources_are_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("model/part")).unwrap();
    fs::write(path("model/weights"), "").unwrap();
    let check = |target: &str, source: &str, apart: bool| {
        let result = check_apart(&path(target), &[&path(source)]);
        let overlaps = matches!(result, Err(OutputError::OverlapsSource { .. }));
        assert_eq!((result.is_ok(), overlaps), (apart, !apart), "{target} {source}");
    };
    check("model", "model", false);
    check("model/out", "model", false);
    check("model/part", "model/weights", true);
    check("model", "model/weights", false);
    check("model/weights", "model/weights", false);
    check("model/out", "model/weights", true);
    check("model/part/../../model", "model", false);
    check("model2", "model", true);
    assert!(matches!(check_apart(&path("out"), &[&path("absent")]), Err(OutputError::Io { .. })));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(path("model"), path("link")).unwrap();
        check("link", "model", false);
        check("link/out", "model", false);
        check("model", "link", false);
    }
}

#[test]
fn nothing_is_written_into_an_artifact() {
    let folder = tempfile::tempdir().unwrap();
    let artifact = folder.path().join("artifact");
    fs::create_dir(&artifact).unwrap();
    for name in ["new", "deep/er/new"] {
        assert!(super::check_not_in_artifact(&artifact.join(name)).is_ok(), "{name}");
    }
    fs::write(artifact.join("clipway.json"), "{}").unwrap();
    for name in ["new", "deep/er/new"] {
        let error = super::check_not_in_artifact(&artifact.join(name)).unwrap_err();
        assert_eq!(error.code(), "bad-target", "{name}: {error}");
    }
    // Beside it and over it is no matter of this check.
    assert!(super::check_not_in_artifact(&artifact).is_ok());
    assert!(super::check_not_in_artifact(&folder.path().join("other")).is_ok());
}
