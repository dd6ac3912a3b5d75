//! Renames, exchanges and removals.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::step::{Step, StepHook};

/// Exchanges two paths atomically, where the system can.
pub(super) fn exchange(a: &Path, b: &Path, hook: &StepHook) -> io::Result<()> {
    hook.before(Step::Exchange, b)?;
    system::exchange(a, b)
}

/// Renames, and fails with `AlreadyExists` if `to` exists.
pub(super) fn rename_new(from: &Path, to: &Path, hook: &StepHook) -> io::Result<()> {
    hook.before(Step::Rename, to)?;
    match system::rename_new(from, to) {
        Err(error) if cannot(&error) => look_and_rename(from, to),
        done => done,
    }
}

/// Renames if `to` does not exist, in two steps, where the system has no single operation.
fn look_and_rename(from: &Path, to: &Path) -> io::Result<()> {
    if fs::symlink_metadata(to).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(from, to)
}

/// Renames, replacing a file at `to`.
pub(super) fn rename_over(from: &Path, to: &Path, hook: &StepHook) -> io::Result<()> {
    hook.before(Step::Rename, to)?;
    fs::rename(from, to)
}

/// Whether an error means that the system, or this file system, has no such operation.
pub(super) fn cannot(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput)
}

/// Syncs the entries of a folder, where the system allows opening one.
#[cfg_attr(not(test), expect(clippy::disallowed_methods, reason = "a folder is opened to sync it"))]
pub(super) fn sync_folder(folder: &Path, hook: &StepHook) -> io::Result<()> {
    hook.before(Step::Sync, folder)?;
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Removes a file, or a folder with its contents, if it exists. A read-only folder is made writable first.
pub(super) fn remove_all(path: &Path, hook: &StepHook) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    hook.before(Step::Remove, path)?;
    if !found.is_dir() {
        return fs::remove_file(path);
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(path)?;
            fs::remove_dir_all(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(unix)]
fn make_writable(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_writable(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(not(unix))]
fn make_writable(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let mut permissions = entry.metadata()?.permissions();
        permissions.set_readonly(false);
        fs::set_permissions(entry.path(), permissions)?;
    }
    Ok(())
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;
    use std::path::Path;

    use rustix::fs::{CWD, RenameFlags, renameat_with};

    pub(super) fn exchange(a: &Path, b: &Path) -> io::Result<()> {
        Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
    }

    pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
        Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::path::Path;

    pub(super) fn exchange(_: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn rename_new(_: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests;
