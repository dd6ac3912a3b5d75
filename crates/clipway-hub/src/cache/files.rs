//! The one place of this crate that touches files. The cache has its own rules: partial files stay for the next run,
//! and links of the reference client are followed but never written through.
#![expect(clippy::disallowed_methods, reason = "the cache's files are no inputs or outputs of a model")]

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::HubError;
use crate::entry::{Content, Entry};

/// Reads a file of at most `limit` bytes; `None` if it does not exist.
pub(crate) fn read_small(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, HubError> {
    let failed = |cause| HubError::io(path, cause);
    match fs::metadata(path) {
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.is_file() => return Err(failed(io::Error::other("not a regular file"))),
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > limit {
        true => Err(HubError::TooLarge { what: clipway_formats::shown_path(path), limit }),
        false => Ok(Some(bytes)),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Opens a file to read it.
pub(crate) fn open(path: &Path) -> Result<File, HubError> {
    File::open(path).map_err(|cause| HubError::io(path, cause))
}

/// Passes what is left of a file on in pieces; returns the number of bytes.
pub(crate) fn each_piece(file: &mut File, path: &Path, mut take: impl FnMut(&[u8])) -> Result<u64, HubError> {
    let mut buffer = vec![0; 1 << 20];
    let mut read = 0;
    loop {
        match file.read(&mut buffer).map_err(|cause| HubError::io(path, cause))? {
            0 => return Ok(read),
            count => {
                take(&buffer[..count]);
                read += count as u64;
            }
        }
    }
}

/// Creates the folder of a path.
pub(crate) fn create_parent(path: &Path) -> Result<(), HubError> {
    path.parent().map_or(Ok(()), create_folder)
}

/// Creates a folder and those above it.
pub(crate) fn create_folder(path: &Path) -> Result<(), HubError> {
    fs::create_dir_all(path).map_err(|cause| HubError::io(path, cause))
}

/// Size of the regular file that a path leads to; `None` if there is none.
pub(crate) fn size(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len())
}

/// What identifies the present content of a file without reading it: size and time of change.
pub(crate) fn stamp(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let since = metadata.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(format!("{} {}.{:09}", metadata.len(), since.as_secs(), since.subsec_nanos()))
}

/// A name beside `path` that no other process uses.
pub(crate) fn unique(path: &Path) -> PathBuf {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{time:x}-{number}{INCOMPLETE}", std::process::id()));
    path.with_file_name(name)
}

/// Ending of files that are not complete.
pub(crate) const INCOMPLETE: &str = ".clipway.incomplete";

/// Writes a small file at once: a temporary beside it, then a rename.
pub(crate) fn write_small(path: &Path, bytes: &[u8]) -> Result<(), HubError> {
    create_parent(path)?;
    let temporary = unique(path);
    let written = File::create_new(&temporary).and_then(|mut file| file.write_all(bytes));
    let placed = written.and_then(|()| fs::rename(&temporary, path));
    placed.map_err(|cause| {
        let _ = fs::remove_file(&temporary);
        HubError::io(path, cause)
    })
}

/// An empty file, unless it exists.
pub(crate) fn touch(path: &Path) -> Result<(), HubError> {
    if size(path).is_some() { Ok(()) } else { write_small(path, b"") }
}

/// Removes a file or a link, never what a link leads to.
pub(crate) fn remove(path: &Path) -> Result<(), HubError> {
    match fs::remove_file(path) {
        Err(error) if !is_absent(&error) => Err(HubError::io(path, error)),
        _ => Ok(()),
    }
}

/// Moves a file into place, over a file or link of that name.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), HubError> {
    fs::rename(from, to).map_err(|cause| HubError::io(to, cause))
}

/// Names of the entries of a folder; none if it does not exist.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, HubError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        entries => entries.map_err(|cause| HubError::io(folder, cause))?,
    };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// All regular files and links below a folder, by relative path with `/`. Links to folders are not followed.
pub(crate) fn below(folder: &Path) -> Result<Vec<String>, HubError> {
    let mut found = Vec::new();
    let mut waiting = vec![String::new()];
    while let Some(prefix) = waiting.pop() {
        for name in names(&folder.join(&prefix))? {
            let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            match fs::symlink_metadata(folder.join(&path)) {
                Ok(metadata) if metadata.is_dir() => waiting.push(path),
                Ok(_) => found.push(path),
                Err(_) => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Places `blob` at `path`: as a relative link, or where links are not possible as a copy.
pub(crate) fn link(path: &Path, target: &Path, blob: &Path) -> Result<(), HubError> {
    if fs::read_link(path).is_ok_and(|found| found == target) {
        return Ok(());
    }
    create_parent(path)?;
    let temporary = unique(path);
    #[cfg(unix)]
    let made = std::os::unix::fs::symlink(target, &temporary).map_err(|cause| HubError::io(path, cause));
    #[cfg(not(unix))]
    let made = Err(HubError::io(target, io::Error::other("no links")));
    if made.is_err() {
        fs::copy(blob, &temporary).map_err(|cause| HubError::io(path, cause))?;
    }
    rename(&temporary, path)
}

/// Copies a file to a new one.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), HubError> {
    create_parent(to)?;
    let temporary = unique(to);
    let copied = fs::copy(from, &temporary).and_then(|_| fs::rename(&temporary, to));
    copied.map_err(|cause| {
        let _ = fs::remove_file(&temporary);
        HubError::io(to, cause)
    })
}

/// A lock that is held until it is dropped. Its file stays, as in the reference client.
pub(crate) struct Lock(#[expect(dead_code, reason = "dropping it unlocks")] File);

/// Waits for the lock of a path; `check` may end the waiting.
pub(crate) fn lock(path: &Path, check: impl Fn() -> Result<(), HubError>) -> Result<Lock, HubError> {
    create_parent(path)?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = file.map_err(|cause| HubError::io(path, cause))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(50)),
            // A file system without locks: unique names keep the result right.
            Err(TryLockError::Error(_)) => return Ok(Lock(file)),
        }
        check()?;
    }
}

/// A partial file that only this process writes.
pub(crate) struct Partial {
    pub path: PathBuf,
    pub file: File,
}

/// Takes over the largest partial file of `blob` that no living process holds, or makes a new one.
pub(crate) fn partial(blob: &Path, most: u64) -> Result<Partial, HubError> {
    create_parent(blob)?;
    let folder = blob.parent().unwrap_or(Path::new(""));
    let prefix = format!("{}.", blob.file_name().unwrap_or_default().to_string_lossy());
    let is_mine = |name: &String| name.starts_with(&prefix) && name.ends_with(INCOMPLETE);
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    for name in names(folder)?.into_iter().filter(is_mine) {
        let path = folder.join(name);
        let is_plain = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file());
        if is_plain {
            found.push((size(&path).unwrap_or(0), path));
        }
    }
    found.sort();
    let mut taken = None;
    while let Some((size, path)) = found.pop() {
        let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) else { continue };
        if file.try_lock().is_err() {
            continue;
        }
        if taken.is_none() && size <= most {
            taken = Some(Partial { path, file });
        } else {
            let _ = fs::remove_file(&path);
        }
    }
    match taken {
        Some(partial) => Ok(partial),
        None => new_partial(blob),
    }
}

/// A new, empty partial file.
pub(crate) fn new_partial(blob: &Path) -> Result<Partial, HubError> {
    let path = unique(blob);
    let file = OpenOptions::new().create_new(true).read(true).write(true).open(&path);
    let file = file.map_err(|cause| HubError::io(&path, cause))?;
    let _ = file.try_lock();
    Ok(Partial { path, file })
}

/// Whether no living process holds a partial file.
pub(crate) fn is_unused(path: &Path) -> bool {
    OpenOptions::new().read(true).write(true).open(path).is_ok_and(|file| file.try_lock().is_ok())
}

/// The entry of a snapshot's link to a blob that is named by its hash; `None` for anything else.
pub(crate) fn named_blob(path: &Path) -> Option<Entry> {
    let hash = fs::read_link(path).ok()?.file_name()?.to_str()?.to_owned();
    let size = size(path)?;
    let content = match hash.len() {
        64 if crate::name::is_hex(&hash, 64) => Content::Lfs(hash.clone()),
        40 if crate::name::is_hex(&hash, 40) => Content::Git(hash.clone()),
        _ => return None,
    };
    Some(Entry { size, content, oid: hash, xet: None })
}

/// Opens `length` bytes of a file from `offset` on.
pub(crate) fn slice(path: &Path, offset: u64, length: u64) -> Result<io::Take<File>, HubError> {
    let mut file = open(path)?;
    io::Seek::seek(&mut file, io::SeekFrom::Start(offset)).map_err(|cause| HubError::io(path, cause))?;
    Ok(file.take(length))
}
