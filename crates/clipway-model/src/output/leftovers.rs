//! Temporary paths: their names, who owns them, and removal of those without an owner.
//!
//! A run holds a lock on `.NAME.clipway-ID.lock` from before it creates `.NAME.clipway-ID.tmp` until after that is
//! gone. The system releases the lock when the process ends, however it ends. So a temporary folder whose lock is
//! absent or free is a leftover. A lock file gets its name only once it is locked.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::error::OutputError;
use super::live;
use super::place::{remove_all, rename_new, sync_folder};
use super::step::{Step, StepHook};
use super::target::metadata;
use crate::input;

/// Maximum length of the part of a target's name that a temporary name repeats.
const LONGEST_STEM: usize = 100;
/// Number of attempts with new identities if one is taken or its lock is cleaned away.
const ATTEMPTS: usize = 16;

/// Number of descriptors needed to remove a folder.
const SPARE: usize = 2;

const LOCK: &str = "lock";
const NEW_LOCK: &str = "lock-new";
const TEMPORARY: &str = "tmp";
const OLD: &str = "old";

/// The temporary paths of one run, owned as long as this lives.
#[derive(Debug)]
pub(super) struct Ownership {
    /// Path without its extension.
    stem: PathBuf,
    /// Held until dropped.
    _lock: File,
    /// Descriptors reserved for removing the folder, in case no others are left.
    spare: Mutex<Vec<File>>,
    _entry: live::Entry,
}

impl Ownership {
    /// Takes a new identity for `target` and locks it.
    pub(super) fn take(target: &Path, hook: &StepHook) -> Result<Ownership, OutputError> {
        let prefix = prefix(target);
        for _ in 0..ATTEMPTS {
            let mut name = prefix.clone();
            name.push(format!("{}-{:016x}", std::process::id(), RandomState::new().hash_one(0)));
            let stem = target.with_file_name(name);
            let paths = live::Paths { target: target.to_owned(), stem: stem.clone() };
            let entry = live::enter(paths).map_err(OutputError::io("begin", target))?;
            if let Some((lock, spare)) = new_lock(target, &stem, hook)? {
                return Ok(Ownership { stem, _lock: lock, spare: Mutex::new(spare), _entry: entry });
            }
        }
        let busy = io::Error::new(io::ErrorKind::ResourceBusy, "all attempts found the lock taken");
        Err(OutputError::io("lock a temporary folder for", target)(busy))
    }

    /// The folder to write into.
    pub(super) fn temporary(&self) -> PathBuf {
        with_ending(&self.stem, TEMPORARY)
    }

    /// Where the old artifact waits while the new one takes its place, if they cannot be exchanged.
    pub(super) fn old(&self) -> PathBuf {
        with_ending(&self.stem, OLD)
    }

    /// Removes everything temporary and releases the identity.
    pub(super) fn clear(&self, target: &Path, hook: &StepHook) -> Result<(), OutputError> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).clear();
        clear(target, &self.stem, hook)
    }
}

/// Why no file can be created beside a target. A system's own folders, such as `/proc`, claim not to exist.
fn creation_error(target: &Path, error: io::Error) -> OutputError {
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let error = match error.kind() {
        io::ErrorKind::NotFound if folder.is_dir() => {
            io::Error::new(io::ErrorKind::Unsupported, "no file can be created there")
        }
        _ => error,
    };
    OutputError::io("write to the folder", folder)(error)
}

/// Creates and locks the lock file; `None` if it was taken from us in between.
#[cfg_attr(not(test), expect(clippy::disallowed_methods, reason = "a lock is created with its output"))]
fn new_lock(target: &Path, stem: &Path, hook: &StepHook) -> Result<Option<(File, Vec<File>)>, OutputError> {
    let (early, path) = (with_ending(stem, NEW_LOCK), with_ending(stem, LOCK));
    let created = hook.before(Step::Prepare, &early).and_then(|()| File::create_new(&early));
    let lock = match created {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        Err(error) => return Err(creation_error(target, error)),
    };
    let make = || -> io::Result<Option<(File, Vec<File>)>> {
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            // Where files cannot be locked, nothing counts as a leftover, and no run's folder is removed.
            Err(TryLockError::Error(_)) => {}
        }
        let spare = (0..SPARE).map(|_| lock.try_clone()).collect::<io::Result<Vec<File>>>()?;
        hook.before(Step::Prepare, &path)?;
        fs::rename(&early, &path)?;
        Ok(Some((lock, spare)))
    };
    match make() {
        Ok(found) => Ok(found),
        Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {
            Ok(None)
        }
        Err(error) => {
            // What cannot be removed now is removed by the next run.
            let _ = fs::remove_file(&early);
            Err(OutputError::io("create the lock", &path)(error))
        }
    }
}

/// Common prefix of a target's temporary names.
fn prefix(target: &Path) -> OsString {
    let name = target.file_name().unwrap_or_default();
    let stem = match name.to_str() {
        Some(name) if name.len() <= LONGEST_STEM => name.to_owned(),
        _ => {
            let digest = Sha256::digest(name.as_encoded_bytes());
            let digest: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
            let start: String = name.to_string_lossy().chars().take(16).collect();
            format!("{start}-{digest}")
        }
    };
    OsString::from(format!(".{stem}.clipway-"))
}

fn with_ending(stem: &Path, ending: &str) -> PathBuf {
    let mut path = stem.as_os_str().to_owned();
    path.push(".");
    path.push(ending);
    PathBuf::from(path)
}

/// Removes what dead runs with this target left behind, and restores an old artifact that such a run had moved aside.
pub(super) fn clean(target: &Path, hook: &StepHook) -> Result<(), OutputError> {
    let Some(folder) = target.parent() else { return Ok(()) };
    let prefix = prefix(target);
    let mut stems: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).map_err(OutputError::io("list", folder))? {
        let name = entry.map_err(OutputError::io("list", folder))?.file_name();
        if let Some(stem) = stem_of(&name, &prefix) {
            stems.push(folder.join(stem));
        }
    }
    stems.sort();
    stems.dedup();
    for stem in stems {
        clean_one(target, &stem, hook)?;
    }
    Ok(())
}

/// The name without its extension, if it is a temporary one with this prefix.
fn stem_of<'a>(name: &'a OsStr, prefix: &OsStr) -> Option<&'a str> {
    let (stem, ending) = name.to_str()?.rsplit_once('.')?;
    let identity = stem.strip_prefix(prefix.to_str()?)?;
    let plain = identity.len() > 16 && identity.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    (plain && [LOCK, NEW_LOCK, TEMPORARY, OLD].contains(&ending)).then_some(stem)
}

fn clean_one(target: &Path, stem: &Path, hook: &StepHook) -> Result<(), OutputError> {
    let early = with_ending(stem, NEW_LOCK);
    let path = with_ending(stem, LOCK);
    let mut held = Vec::new();
    for lock in [&early, &path] {
        let held_now = match metadata(lock)? {
            None => continue,
            // Whatever it is, no run created it.
            Some(found) if !found.is_file() => return Ok(()),
            Some(_) => input::open_lock(lock).ok().filter(|lock| lock.try_lock().is_ok()),
        };
        match held_now {
            Some(lock) => held.push(lock),
            None => return Ok(()),
        }
    }
    if let Err(error) = clear(target, stem, hook) {
        // A leftover that cannot be removed (it may be another user's) does not prevent writing; an artifact that could
        // not be restored does.
        let lost = is_ours(&with_ending(stem, OLD))? && metadata(target)?.is_none();
        return if lost { Err(error) } else { Ok(()) };
    }
    Ok(())
}

/// Removes the temporary paths of all outputs of this process, which is about to end; see [`super::abandon`].
pub(super) fn clear_all(wait: Duration) {
    for live::Paths { target, stem } in live::end(wait) {
        for _ in 0..ATTEMPTS {
            // The writing thread may create a file while its folder is being removed.
            if clear(&target, &stem, &StepHook::default()).is_ok() {
                break;
            }
        }
    }
}

/// Whether a run may have created what is at a temporary path: a folder or a file, and no link, pipe or device.
fn is_ours(path: &Path) -> Result<bool, OutputError> {
    Ok(metadata(path)?.is_some_and(|found| found.is_dir() || found.is_file()))
}

/// Restores an old artifact unless something has taken its place, and removes everything else of one run, its lock
/// last.
fn clear(target: &Path, stem: &Path, hook: &StepHook) -> Result<(), OutputError> {
    let (temporary, old) = (with_ending(stem, TEMPORARY), with_ending(stem, OLD));
    if is_ours(&old)? && metadata(target)?.is_none() {
        let parent = target.parent().unwrap_or(target);
        match rename_new(&old, target, hook).and_then(|()| sync_folder(parent, hook)) {
            // Another run has placed its output since.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty
                ) => {}
            restored => restored.map_err(OutputError::io("put back", target))?,
        }
    }
    for path in [temporary, old, with_ending(stem, NEW_LOCK), with_ending(stem, LOCK)] {
        if !is_ours(&path)? {
            continue;
        }
        remove_all(&path, hook).map_err(OutputError::io("remove", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
