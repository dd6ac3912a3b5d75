//! Runs that fail or die at any step, and those that exceed the file-size limit.

use std::process::Command;

use super::*;

/// After a run that failed or died: the output must be the old or the new one, and the next run must leave nothing
/// else.
fn check_after(folder: &Path, kind: TargetKind, old: Option<&str>, succeeded: bool, context: &str) {
    let target = folder.join("out");
    // A run of the next user that ends before it places anything.
    drop(Staging::create(&target, options(kind, true)).unwrap());
    let found = contents(folder);
    let is_new = found == expected(kind, Some("new"));
    let is_old = !succeeded && found == expected(kind, old);
    assert!(is_new || is_old, "{context}: {found:?}");
}

#[test]
fn a_failure_at_any_step_leaves_the_old_output() {
    for (kind, replace, plain) in WAYS {
        for fatal in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let target = folder.path().join("out");
            let old = replace.then_some("old");
            if let Some(old) = old {
                write(&target, options(kind, false), old).unwrap();
            }
            let (hook, count) = hook_at(fatal, plain, || Err(io::Error::other("injected")));
            let result = write(&target, OutputOptions { hook, ..options(kind, replace) }, "new");
            let context = format!("{kind:?} {replace} {plain} step {fatal}: {result:?}");
            if let Err(error) = &result {
                assert!(error.to_string().ends_with(": injected"), "{context}");
                let found = contents(folder.path());
                let complete = [old, Some("new")].iter().any(|text| found == expected(kind, *text));
                assert!(complete, "{context}: {found:?}");
            }
            check_after(folder.path(), kind, old, result.is_ok(), &context);
            if count.load(Ordering::Relaxed) <= fatal {
                assert!(fatal > 8, "only {fatal} steps were seen");
                break;
            }
        }
    }
}

/// Name of the variable that makes [`dying_child`] die: folder, way and step.
const CHILD: &str = "CLIPWAY_TEST_DYING_CHILD";

/// Runs as the process that dies in [`a_death_at_any_step_leaves_one_whole_output`]; on its own it does nothing.
#[test]
fn dying_child() {
    let Ok(order) = std::env::var(CHILD) else { return };
    let [folder, way, fatal] = order.split('|').collect::<Vec<_>>()[..] else { panic!("{order}") };
    let (kind, replace, plain) = WAYS[way.parse::<usize>().unwrap()];
    let (hook, _) = hook_at(fatal.parse().unwrap(), plain, || std::process::abort());
    let target = Path::new(folder).join("out");
    write(&target, OutputOptions { hook, ..options(kind, replace) }, "new").unwrap();
}

#[test]
fn a_death_at_any_step_leaves_one_whole_output() {
    for (way, (kind, replace, plain)) in WAYS.into_iter().enumerate() {
        for fatal in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let old = replace.then_some("old");
            if let Some(old) = old {
                write(&folder.path().join("out"), options(kind, false), old).unwrap();
            }
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "output::tests::deaths::dying_child"])
                .env(CHILD, format!("{}|{way}|{fatal}", folder.path().display()))
                .output()
                .unwrap();
            let lived = child.status.success();
            check_after(folder.path(), kind, old, lived, &format!("{kind:?} {replace} {plain} step {fatal}"));
            if lived {
                assert!(fatal > 8, "the child died at {fatal} steps only");
                break;
            }
        }
    }
}

/// Name of the variable that makes [`child_over_the_limit`] write: the folder.
#[cfg(unix)]
const LIMITED: &str = "CLIPWAY_TEST_LIMITED_CHILD";

/// Runs as the process of [`a_file_size_limit_leaves_the_old_output`]; on its own it does nothing.
#[cfg(unix)]
#[test]
fn child_over_the_limit() {
    let Some(folder) = std::env::var_os(LIMITED) else { return };
    let target = Path::new(&folder).join("out");
    let text = "x".repeat(1 << 20);
    let error = write(&target, options(TargetKind::Folder, true), &text).unwrap_err();
    assert!(error.to_string().starts_with("cannot write `"), "{error}");
    assert!(error.to_string().contains("File too large"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_file_size_limit_leaves_the_old_output() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("out"), options(TargetKind::Folder, false), "old").unwrap();
    let child = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 16; exec \"$0\" --exact output::tests::deaths::child_over_the_limit",
        ])
        .arg(std::env::current_exe().unwrap())
        .env(LIMITED, folder.path())
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"), "{child:?}");
    assert_eq!(contents(folder.path()), expected(TargetKind::Folder, Some("old")));
}
