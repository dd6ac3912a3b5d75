//! Renames and removals that other systems handle differently from Linux as root.

use std::fs;
use std::io::ErrorKind;

use super::*;

#[test]
fn a_rename_in_two_steps_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
    fs::write(&from, "new").unwrap();
    fs::write(&to, "old").unwrap();
    assert_eq!(look_and_rename(&from, &to).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&to).unwrap(), "old");
    fs::remove_file(&to).unwrap();
    look_and_rename(&from, &to).unwrap();
    assert_eq!(fs::read_to_string(&to).unwrap(), "new");
    assert!(!from.exists());
    // A dangling link exists too.
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", &from).unwrap();
        assert_eq!(look_and_rename(&to, &from).unwrap_err().kind(), ErrorKind::AlreadyExists);
    }
}

#[cfg(unix)]
#[test]
fn folders_that_were_made_read_only_are_made_writable_at_every_depth() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let top = root.path().join("top");
    let below = top.join("middle/below");
    fs::create_dir_all(&below).unwrap();
    fs::write(below.join("file"), "x").unwrap();
    let folders = [below.clone(), top.join("middle"), top.clone()];
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for folder in &folders {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o500)).unwrap();
    }
    make_writable(&top).unwrap();
    assert!(folders.iter().all(|folder| mode(folder) == 0o700));
    for folder in &folders {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o500)).unwrap();
    }
    remove_all(&top, &StepHook::default()).unwrap();
    assert!(!top.exists());
    remove_all(&top, &StepHook::default()).unwrap();
}
