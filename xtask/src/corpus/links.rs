//! Symbolic links that a copy of a corpus stores as text, as git does on systems without them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Maximum length of a link target stored as text, in bytes.
const LONGEST_TARGET: u64 = 512;

/// A case whose links are real links again; removed when dropped.
pub struct Restored {
    _folder: TempDir,
    file: PathBuf,
}

impl Restored {
    /// Returns the file of the case.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

/// Copies the folder of `file` and its parent folder, turning every link stored as text into a real link; returns
/// `None` if there is no such link.
///
/// # Errors
/// Any error of the system while copying and linking.
pub fn restore(file: &Path) -> io::Result<Option<Restored>> {
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else { return Ok(None) };
    let (Some(around), Some(inner)) = (folder.parent(), folder.file_name()) else { return Ok(None) };
    let mut found = false;
    for entry in fs::read_dir(folder)? {
        found |= target(&entry?.path())?.is_some();
    }
    if !found {
        return Ok(None);
    }
    let copy = TempDir::new()?;
    copy_folder(around, copy.path())?;
    let file = copy.path().join(inner).join(name);
    Ok(Some(Restored { _folder: copy, file }))
}

/// Returns the target of a link stored as text: a relative path out of the file's folder to an existing file.
fn target(path: &Path) -> io::Result<Option<String>> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_file() || metadata.len() > LONGEST_TARGET {
        return Ok(None);
    }
    let Ok(text) = String::from_utf8(fs::read(path)?) else { return Ok(None) };
    let leads = text.starts_with("../") && !text.contains('\n');
    Ok((leads && path.with_file_name(&text).is_file()).then_some(text))
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, copy) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            fs::create_dir(&copy)?;
            copy_folder(&source, &copy)?;
        } else if let Some(text) = target(&source)? {
            link(&text, &copy)?;
        } else {
            fs::copy(&source, &copy)?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn link(target: &str, at: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, at)
}

#[cfg(not(unix))]
fn link(target: &str, at: &Path) -> io::Result<()> {
    fs::copy(at.with_file_name(target), at).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stored_as_text_are_links_again() {
        let folder = TempDir::new().unwrap();
        for (name, text) in [
            ("blobs/a", "weights"),
            ("snap/model", "../blobs/a"),
            ("snap/index", "{}"),
            ("snap/far", "../none"),
        ] {
            fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
            fs::write(folder.path().join(name), text).unwrap();
        }
        let restored = restore(&folder.path().join("snap/index")).unwrap().unwrap();
        let read = |name: &str| fs::read_to_string(restored.file().with_file_name(name)).unwrap();
        assert_eq!([read("index"), read("model"), read("far")], ["{}", "weights", "../none"]);
        assert!(cfg!(not(unix)) || restored.file().with_file_name("model").is_symlink());
        assert!(restore(&folder.path().join("blobs/a")).unwrap().is_none());
    }
}
