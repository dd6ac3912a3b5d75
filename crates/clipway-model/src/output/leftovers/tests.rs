//! Temporary names that are taken, and leftovers that cannot be removed or restored.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::output::{OutputOptions, Staging, TargetKind};

/// Name, without extension, of what a dead run with the target `out` left.
const DEAD: &str = ".out.clipway-1234-00000000000000ab";

fn create(target: &Path, hook: StepHook) -> Result<Staging, OutputError> {
    Staging::create(
        target,
        OutputOptions { kind: TargetKind::Folder, force: true, hook, ..OutputOptions::default() },
    )
}

/// Names of everything in a folder.
fn names(folder: &Path) -> Vec<String> {
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(name).collect();
    names.sort();
    names
}

/// A hook that does something before a lock is created under its early name (`lock-new`) or its own (`lock`), and
/// counts the calls.
fn before_lock(
    ending: &'static str,
    act: impl Fn(&Path) + Send + Sync + 'static,
) -> (StepHook, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let hook = StepHook::new(move |step, path| {
        if step == Step::Prepare && path.extension().is_some_and(|found| found == ending) {
            counter.fetch_add(1, Ordering::Relaxed);
            act(path);
        }
        Ok(())
    });
    (hook, count)
}

#[test]
fn another_identity_is_tried_where_one_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("out");
    let times = AtomicUsize::new(0);
    let (hook, count) = before_lock(NEW_LOCK, move |path| {
        if times.fetch_add(1, Ordering::Relaxed) < 3 {
            fs::write(path, "").unwrap();
        }
    });
    let staging = create(&target, hook).unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 4);
    drop(staging);
    // Nobody holds the three that were in the way: the next run removes them.
    assert_eq!(names(folder.path()).len(), 3);
    drop(create(&target, StepHook::default()).unwrap());
    assert_eq!(names(folder.path()), [""; 0]);

    // A cleaner may remove a lock before it has its name.
    let times = AtomicUsize::new(0);
    let (hook, count) = before_lock(LOCK, move |path| {
        if times.fetch_add(1, Ordering::Relaxed) == 0 {
            fs::remove_file(path.with_extension(NEW_LOCK)).unwrap();
        }
    });
    drop(create(&target, hook).unwrap());
    assert_eq!(count.load(Ordering::Relaxed), 2);
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn a_lock_that_is_always_taken_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (hook, count) = before_lock(NEW_LOCK, |path| fs::write(path, "").unwrap());
    let error = create(&folder.path().join("out"), hook).unwrap_err();
    assert!(error.to_string().starts_with("cannot lock a temporary folder for `"), "{error}");
    assert!(error.to_string().ends_with("out`: all attempts found the lock taken"), "{error}");
    assert_eq!(count.load(Ordering::Relaxed), ATTEMPTS);
}

/// Creates what a run leaves behind if it dies between the two renames of a replacement: the old artifact aside.
fn die(folder: &Path) {
    fs::write(folder.join(format!("{DEAD}.{LOCK}")), "").unwrap();
    for (ending, text) in [(TEMPORARY, "new"), (OLD, "old")] {
        let part = folder.join(format!("{DEAD}.{ending}"));
        fs::create_dir(&part).unwrap();
        fs::write(part.join("clipway.json"), text).unwrap();
    }
}

/// A hook that makes one kind of step fail.
fn failing(wanted: Step) -> StepHook {
    StepHook::new(move |step, _| if step == wanted { Err(io::Error::other("injected")) } else { Ok(()) })
}

#[test]
fn an_old_artifact_is_put_back_or_the_run_ends() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("out");
    die(folder.path());
    let before = names(folder.path());
    let error = create(&target, failing(Step::Rename)).unwrap_err();
    assert!(error.to_string().starts_with("cannot put back `"), "{error}");
    assert!(error.to_string().ends_with("out`: injected"), "{error}");
    assert_eq!(names(folder.path()), before);
    clean(&target, &StepHook::default()).unwrap();
    assert_eq!(names(folder.path()), ["out"]);
    assert_eq!(fs::read_to_string(target.join("clipway.json")).unwrap(), "old");
}

#[test]
fn an_artifact_that_came_meanwhile_stays() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("out");
    die(folder.path());
    let late = target.clone();
    let hook = StepHook::new(move |step, path| {
        if step == Step::Rename && path == late {
            fs::create_dir(&late)?;
            fs::write(late.join("clipway.json"), "other")?;
        }
        Ok(())
    });
    clean(&target, &hook).unwrap();
    assert_eq!(names(folder.path()), ["out"]);
    assert_eq!(fs::read_to_string(target.join("clipway.json")).unwrap(), "other");
}

#[test]
fn what_cannot_be_removed_or_looked_at_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("out");
    fs::write(folder.path().join(format!("{DEAD}.{LOCK}")), "").unwrap();
    fs::create_dir(folder.path().join(format!("{DEAD}.{TEMPORARY}"))).unwrap();
    let before = names(folder.path());
    clean(&target, &failing(Step::Remove)).unwrap();
    assert_eq!(names(folder.path()), before);
    clean(&target, &StepHook::default()).unwrap();
    assert_eq!(names(folder.path()), [""; 0]);
    // A lock that cannot be opened may be held.
    #[cfg(unix)]
    {
        let lock = format!("{DEAD}.{LOCK}");
        std::os::unix::fs::symlink(&lock, folder.path().join(&lock)).unwrap();
        fs::create_dir(folder.path().join(format!("{DEAD}.{TEMPORARY}"))).unwrap();
        clean(&target, &StepHook::default()).unwrap();
        assert_eq!(names(folder.path()), before);
    }
}

/// Pipes and links under temporary names are nobody's leftovers: they are not opened, followed, restored or removed.
#[cfg(unix)]
#[test]
fn what_no_run_makes_is_left_alone() {
    use std::os::unix::fs::symlink;

    for ending in [LOCK, NEW_LOCK, TEMPORARY, OLD] {
        for pipe in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let target = folder.path().join("out");
            let path = folder.path().join(format!("{DEAD}.{ending}"));
            if pipe {
                assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
            } else {
                fs::create_dir(folder.path().join("elsewhere")).unwrap();
                symlink("elsewhere", &path).unwrap();
            }
            let before = names(folder.path());
            clean(&target, &StepHook::default()).unwrap();
            assert_eq!(names(folder.path()), before, "{ending} {pipe}");
            drop(create(&target, StepHook::default()).unwrap());
            assert_eq!(names(folder.path()), before, "{ending} {pipe}");
        }
    }
}
