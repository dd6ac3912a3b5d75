//! Parent folders created for a target.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::OutputError;
use super::place::sync_folder;
use super::step::{Step, StepHook};
use super::target::metadata;

/// The parent folders that did not exist before. They are removed again if nothing is put into them.
#[derive(Debug)]
pub(super) struct FoldersAbove {
    /// From the outermost to the innermost.
    made: Vec<PathBuf>,
}

impl FoldersAbove {
    /// Creates the parent folders of a target, following no links.
    pub(super) fn make(target: &Path, hook: &StepHook) -> Result<FoldersAbove, OutputError> {
        let mut missing = Vec::new();
        let mut above = target.parent();
        while let Some(folder) = above {
            if metadata(folder)?.is_some() {
                break;
            }
            missing.push(folder);
            above = folder.parent();
        }
        let mut folders = FoldersAbove { made: Vec::new() };
        for folder in missing.into_iter().rev() {
            let make = || hook.before(Step::Prepare, folder).and_then(|()| fs::create_dir(folder));
            match make() {
                // Another run has created it meanwhile, so it is not ours to remove.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made.map_err(OutputError::io("create the folder", folder))?,
            }
            folders.made.push(folder.to_path_buf());
            let above = folder.parent().unwrap_or(folder);
            sync_folder(above, hook).map_err(OutputError::io("sync", above))?;
        }
        Ok(folders)
    }

    /// Keeps the folders: an output is now in them.
    pub(super) fn keep(&mut self) {
        self.made.clear();
    }
}

impl Drop for FoldersAbove {
    fn drop(&mut self) {
        for folder in self.made.iter().rev() {
            // A folder that another run has put something into stays.
            let _ = fs::remove_dir(folder);
        }
    }
}
