//! What may be written where.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::error::OutputError;

/// What an output is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetKind {
    /// A folder of files.
    #[default]
    Folder,
    /// One file.
    File,
}

/// Files of which a folder has at least one if it is an artifact that may be replaced.
const ARTIFACT_FILES: [&str; 2] = ["clipway.json", "open_clip_config.json"];

/// Refuses a target that is a source, lies in one or contains one, whatever links lead there.
///
/// # Errors
/// [`OutputError::OverlapsSource`], or what the system says about either path.
pub fn check_apart(target: &Path, sources: &[&Path]) -> Result<(), OutputError> {
    let resolved = resolve(target)?;
    for source in sources {
        let real = fs::canonicalize(source).map_err(OutputError::io("find", source))?;
        if resolved.starts_with(&real) || real.starts_with(&resolved) {
            let (target, source_path) = (target.to_path_buf(), source.to_path_buf());
            return Err(OutputError::OverlapsSource { target, source_path });
        }
    }
    Ok(())
}

/// The absolute path of a target without links: a link is not replaced, but what it leads to.
pub(super) fn resolve(target: &Path) -> Result<PathBuf, OutputError> {
    let bad = |reason| OutputError::BadTarget { path: target.to_path_buf(), reason };
    if metadata(target)?.is_some_and(|found| found.is_symlink()) {
        return fs::canonicalize(target).map_err(OutputError::io("follow", target));
    }
    let name = target.file_name().ok_or_else(|| bad("it has no name"))?;
    let parent = match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let parent = fs::canonicalize(parent).map_err(OutputError::io("find the folder", parent))?;
    Ok(parent.join(name))
}

/// What is at `path` itself, following no link.
pub(super) fn metadata(path: &Path) -> Result<Option<Metadata>, OutputError> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OutputError::io("look at", path)(error)),
    }
}

/// Checks that what is at `target` may be replaced, and gives it if there is anything.
pub(super) fn check_replaceable(
    target: &Path,
    kind: TargetKind,
    force: bool,
) -> Result<Option<Metadata>, OutputError> {
    let Some(found) = metadata(target)? else { return Ok(None) };
    let refuse = |reason| Err(OutputError::NotReplaceable { path: target.to_path_buf(), reason });
    match kind {
        TargetKind::Folder if !found.is_dir() => return refuse("it is not a folder"),
        TargetKind::File if !found.is_file() => return refuse("it is not a file"),
        _ if !force => return Err(OutputError::Exists { path: target.to_path_buf() }),
        TargetKind::Folder if !is_empty(target)? && !is_artifact(target) => {
            return refuse("it is a folder with other files, and no artifact");
        }
        _ => {}
    }
    Ok(Some(found))
}

/// Whether a folder is empty, or gone since it was seen.
fn is_empty(folder: &Path) -> Result<bool, OutputError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(OutputError::io("list", folder)(error)),
    }
}

fn is_artifact(folder: &Path) -> bool {
    ARTIFACT_FILES.iter().any(|name| folder.join(name).is_file())
}
