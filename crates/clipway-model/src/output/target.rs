//! Checks of what may be written where.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::error::OutputError;
use crate::artifact::{ARTIFACT_NAME, Artifact};

/// What an output is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetKind {
    /// A folder of files.
    #[default]
    Folder,
    /// One file.
    File,
}

/// Maximum number of foreign names in an error.
const MOST_STRANGERS: usize = 10;

/// Returns the names of the files that belong to the artifact in a folder, or why they cannot be known.
#[derive(Clone, Copy, Debug)]
pub struct Listing(pub fn(&Path) -> Result<Vec<String>, String>);

impl Default for Listing {
    /// The names that the folder's own `clipway.json` lists.
    fn default() -> Listing {
        Listing(|folder| {
            let artifact = Artifact::read(folder).map_err(|error| error.to_string())?;
            let names = artifact.files.keys().map(String::as_str).chain(artifact.weights_names());
            Ok(names.chain([ARTIFACT_NAME]).map(str::to_owned).collect())
        })
    }
}

/// Refuses a target that is, contains, or lies inside a source, resolving links.
///
/// # Errors
/// [`OutputError::OverlapsSource`], or a system error for either path.
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

/// Refuses a target that contains an input of the run, since replacing the target would remove the input.
///
/// # Errors
/// [`OutputError::OverlapsSource`], or a system error for either path.
pub fn check_outside(target: &Path, inputs: &[&Path]) -> Result<(), OutputError> {
    let resolved = resolve(target)?;
    for input in inputs {
        let real = fs::canonicalize(input).map_err(OutputError::io("find", input))?;
        if real.starts_with(&resolved) {
            let (target, source_path) = (target.to_path_buf(), input.to_path_buf());
            return Err(OutputError::OverlapsSource { target, source_path });
        }
    }
    Ok(())
}

/// Refuses a target whose folder is an artifact: the artifact would then hold an entry that it does not list.
///
/// # Errors
/// [`OutputError::BadTarget`], or what the system says about the path.
pub(crate) fn check_not_in_artifact(target: &Path) -> Result<(), OutputError> {
    let resolved = resolve(target)?;
    for above in resolved.ancestors().skip(1) {
        if metadata(above)?.is_none() {
            continue;
        }
        return match metadata(&above.join(ARTIFACT_NAME))? {
            Some(_) => {
                let reason = "it is inside an exported folder, which must hold nothing else";
                Err(OutputError::BadTarget { path: target.to_path_buf(), reason })
            }
            None => Ok(()),
        };
    }
    Ok(())
}

/// The absolute path of a target without links: a link is not replaced, but what it leads to. Parent folders need not
/// exist.
pub(super) fn resolve(target: &Path) -> Result<PathBuf, OutputError> {
    let bad = |reason| OutputError::BadTarget { path: target.to_path_buf(), reason };
    if metadata(target)?.is_some_and(|found| found.is_symlink()) {
        return fs::canonicalize(target).map_err(OutputError::io("follow", target));
    }
    let mut missing = vec![target.file_name().ok_or_else(|| bad("it has no name"))?];
    let mut above = parent(target);
    loop {
        match fs::canonicalize(above) {
            Ok(found) => return Ok(missing.iter().rev().fold(found, |path, name| path.join(name))),
            Err(error) if error.kind() == io::ErrorKind::NotFound && metadata(above)?.is_none() => {
                missing.push(above.file_name().ok_or_else(|| bad("its folder does not exist"))?);
                above = parent(above);
            }
            Err(error) => return Err(OutputError::io("find the folder", above)(error)),
        }
    }
}

/// The parent folder of a path; the current one for a bare name.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// What is at `path` itself, following no link.
pub(super) fn metadata(path: &Path) -> Result<Option<Metadata>, OutputError> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OutputError::io("look at", path)(error)),
    }
}

/// Checks that what is at `target` may be replaced, and returns it if it exists. An empty folder may always be
/// replaced.
pub(super) fn check_replaceable(
    target: &Path,
    kind: TargetKind,
    force: bool,
    listing: Listing,
) -> Result<Option<Metadata>, OutputError> {
    let Some(found) = metadata(target)? else { return Ok(None) };
    let refuse = |reason| Err(OutputError::NotReplaceable { path: target.to_path_buf(), reason });
    match kind {
        TargetKind::Folder if !found.is_dir() => return refuse("it is not a folder"),
        TargetKind::Folder if is_empty(target)? => {}
        TargetKind::File if !found.is_file() => return refuse("it is not a file"),
        _ if !force => return Err(OutputError::Exists { path: target.to_path_buf() }),
        TargetKind::Folder => check_ours(target, target, listing)?,
        TargetKind::File => {}
    }
    Ok(Some(found))
}

/// Checks that an export wrote everything in the folder `target`: every entry is a file that its `clipway.json` lists.
pub(super) fn check_ours(folder: &Path, target: &Path, listing: Listing) -> Result<(), OutputError> {
    let list = || -> io::Result<Vec<(String, bool)>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            entries.push((entry.file_name().to_string_lossy().into_owned(), entry.file_type()?.is_file()));
        }
        Ok(entries)
    };
    let mut entries = match list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(OutputError::io("list", folder))?,
    };
    if entries.is_empty() {
        return Ok(());
    }
    let (listed, why) = match (listing.0)(folder) {
        Ok(listed) => (listed, None),
        Err(why) => (Vec::new(), entries.iter().any(|(name, _)| name == ARTIFACT_NAME).then_some(why)),
    };
    entries.retain(|(name, is_file)| !is_file || !listed.contains(name));
    if entries.is_empty() {
        return Ok(());
    }
    entries.sort();
    let more = entries.len().saturating_sub(MOST_STRANGERS);
    let names = entries.into_iter().take(MOST_STRANGERS).map(|(name, _)| name).collect();
    Err(OutputError::Strangers { path: target.to_path_buf(), names, more, why })
}

/// Whether a folder is empty, or gone since it was seen.
fn is_empty(folder: &Path) -> Result<bool, OutputError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(OutputError::io("list", folder)(error)),
    }
}
