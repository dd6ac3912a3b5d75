//! An output from its first byte until it is in place.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::above::FoldersAbove;
use super::error::OutputError;
use super::file::StagedFile;
use super::leftovers::{Ownership, clean};
use super::live;
use super::place::{cannot, exchange, rename_new, rename_over, sync_folder};
use super::step::{Step, StepHook};
use super::target::{Listing, TargetKind, check_ours, check_replaceable, resolve};

/// How to write an output.
#[derive(Clone, Debug, Default)]
pub struct OutputOptions {
    /// Whether the output is a folder or a file.
    pub kind: TargetKind,
    /// Whether to replace an artifact at the target.
    pub force: bool,
    /// Which files of a folder belong to an artifact.
    pub listing: Listing,
    /// Called before every step.
    pub hook: StepHook,
}

/// An output being written, in a temporary folder beside its target. If dropped before it is committed, it leaves
/// nothing behind.
#[derive(Debug)]
pub struct Staging {
    target: PathBuf,
    folder: PathBuf,
    options: OutputOptions,
    ownership: Ownership,
    above: FoldersAbove,
    files: Mutex<Vec<Arc<StagedFile>>>,
}

/// An output that is in place.
#[derive(Debug)]
pub struct Placed {
    /// The replaced artifact under a temporary name, if it could not be removed. The next run with the same target
    /// removes it.
    pub leftover: Option<OutputError>,
}

/// Number of commit attempts if other runs change the target in between.
const ATTEMPTS: usize = 100;

/// Interval between such attempts.
const PAUSE: Duration = Duration::from_millis(2);

impl Staging {
    /// Starts an output: removes what dead runs with the same target left, checks that the target may be written, and
    /// creates the temporary folder.
    ///
    /// # Errors
    /// [`OutputError::Exists`] without `force`; [`OutputError::NotReplaceable`] for anything but an artifact;
    /// [`OutputError::BadTarget`] and [`OutputError::Io`].
    pub fn create(target: &Path, options: OutputOptions) -> Result<Staging, OutputError> {
        let target = resolve(target)?;
        let above = FoldersAbove::make(&target, &options.hook)?;
        clean(&target, &options.hook)?;
        check_replaceable(&target, options.kind, options.force, options.listing)?;
        let ownership = Ownership::take(&target, &options.hook)?;
        let folder = ownership.temporary();
        // From here on, dropping the staging removes lock and folder.
        let staging = Staging { target, folder, options, ownership, above, files: Mutex::default() };
        let make = || {
            staging.options.hook.before(Step::Prepare, &staging.folder)?;
            fs::create_dir(&staging.folder)
        };
        make().map_err(OutputError::io("create the temporary folder", &staging.folder))?;
        Ok(staging)
    }

    /// The target as an absolute path without links.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// The temporary folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Creates a file in an output that is a folder.
    ///
    /// # Errors
    /// [`OutputError::BadTarget`] if `name` leads out of the folder, [`OutputError::Io`].
    pub fn file(&self, name: &str) -> Result<Arc<StagedFile>, OutputError> {
        if !is_below(name) {
            let path = self.target.join(name);
            return Err(OutputError::BadTarget { path, reason: "not the name of a file in the folder" });
        }
        if let Some((inner, _)) = name.rsplit_once('/') {
            let inner = self.folder.join(inner);
            let make = || {
                self.options.hook.before(Step::Prepare, &inner)?;
                fs::create_dir_all(&inner)
            };
            make().map_err(OutputError::io("create the folder", &inner))?;
        }
        let file = Arc::new(StagedFile::create(self.folder.join(name), self.options.hook.clone())?);
        self.files.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&file));
        Ok(file)
    }

    /// Creates a symbolic link to `to` in an output that is a folder.
    ///
    /// # Errors
    /// [`OutputError::BadTarget`] if `name` leads out of the folder, [`OutputError::Io`].
    pub fn link(&self, name: &str, to: &Path) -> Result<(), OutputError> {
        if !is_below(name) {
            let path = self.target.join(name);
            return Err(OutputError::BadTarget { path, reason: "not the name of a file in the folder" });
        }
        let place = self.folder.join(name);
        let make = || {
            self.options.hook.before(Step::CreateFile, &place)?;
            symlink(to, &place)
        };
        make().map_err(OutputError::io("create the link", &place))
    }

    /// Creates the file of an output that is a file.
    ///
    /// # Errors
    /// [`OutputError::Io`].
    pub fn single_file(&self) -> Result<Arc<StagedFile>, OutputError> {
        let file = Arc::new(StagedFile::create(self.single_path(), self.options.hook.clone())?);
        self.files.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&file));
        Ok(file)
    }

    fn single_path(&self) -> PathBuf {
        self.folder.join(self.target.file_name().unwrap_or_default())
    }

    /// Waits until everything written is on the disk. [`commit`](Self::commit) does so too; if done before, what is
    /// read back afterwards is what the disk has.
    ///
    /// # Errors
    /// [`OutputError::Io`].
    pub fn sync(&self) -> Result<(), OutputError> {
        for file in self.files.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            file.sync()?;
        }
        let mut folders: Vec<&Path> = Vec::new();
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        for folder in files.iter().filter_map(|file| file.path().parent()).chain([self.folder.as_path()]) {
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        for folder in folders {
            sync_folder(folder, &self.options.hook).map_err(OutputError::io("sync", folder))?;
        }
        Ok(())
    }

    /// Syncs everything and moves the output into place.
    ///
    /// # Errors
    /// The errors of [`create`](Self::create), if the target has changed since, and [`OutputError::Io`]. The target is
    /// then unchanged, except that a failed sync of its folder may leave the new output in place.
    pub fn commit(mut self) -> Result<Placed, OutputError> {
        self.sync()?;
        let _placing = live::place().map_err(OutputError::io("move into place", &self.target))?;
        for _ in 0..ATTEMPTS {
            let OutputOptions { kind, force, listing, .. } = self.options;
            let old = check_replaceable(&self.target, kind, force, listing)?;
            if let Some(old) = &old {
                self.keep_modes(old)?;
            }
            let placed = match kind {
                TargetKind::Folder => self.place_folder(old.is_some()),
                TargetKind::File => self.place_file(old.is_some()).map(|()| None),
            };
            match placed {
                Ok(old) => {
                    if let Some(old) = old {
                        self.check_old(&old)?;
                    }
                    self.above.keep();
                    let parent = self.target.parent().unwrap_or(&self.target);
                    let synced = sync_folder(parent, &self.options.hook);
                    let leftover = self.ownership.clear(&self.target, &self.options.hook).err();
                    synced.map_err(OutputError::io("sync", parent))?;
                    return Ok(Placed { leftover });
                }
                Err(error) if is_race(&error) => thread::sleep(PAUSE),
                Err(error) => return Err(OutputError::io("move into place", &self.target)(error)),
            }
        }
        let busy = io::Error::new(io::ErrorKind::ResourceBusy, "other runs keep changing it");
        Err(OutputError::io("move into place", &self.target)(busy))
    }

    fn place_file(&self, replace: bool) -> io::Result<()> {
        let from = self.single_path();
        let hook = &self.options.hook;
        if replace { rename_over(&from, &self.target, hook) } else { rename_new(&from, &self.target, hook) }
    }

    /// Moves the folder into place, and returns where the old one is now.
    fn place_folder(&self, replace: bool) -> io::Result<Option<PathBuf>> {
        let hook = &self.options.hook;
        if !replace {
            return rename_new(&self.folder, &self.target, hook).map(|()| None);
        }
        match exchange(&self.folder, &self.target, hook) {
            Err(error) if cannot(&error) => {}
            done => return done.map(|()| Some(self.folder.clone())),
        }
        // If the process dies between the two renames, the next run restores the old artifact.
        let aside = self.ownership.old();
        rename_new(&self.target, &aside, hook)?;
        rename_new(&self.folder, &self.target, hook).inspect_err(|_| {
            // If this fails too, the next run does it.
            let _ = fs::rename(&aside, &self.target);
        })?;
        Ok(Some(aside))
    }

    /// Checks that nothing was added to the old folder since it was inspected; otherwise exchanges both folders again.
    fn check_old(&self, old: &Path) -> Result<(), OutputError> {
        let Err(error) = check_ours(old, &self.target, self.options.listing) else { return Ok(()) };
        let back = if old == self.folder {
            exchange(&self.folder, &self.target, &self.options.hook)
        } else {
            rename_new(&self.target, &self.folder, &self.options.hook)
                .and_then(|()| rename_new(old, &self.target, &self.options.hook))
        };
        back.map_err(OutputError::io("put back", &self.target))?;
        Err(error)
    }

    /// Copies the modes of the replaced target and files.
    fn keep_modes(&self, old: &Metadata) -> Result<(), OutputError> {
        let keep = |path: &Path, old: &Metadata| {
            let set = || {
                self.options.hook.before(Step::KeepMode, path)?;
                fs::set_permissions(path, old.permissions())
            };
            set().map_err(OutputError::io("set the mode of", path))
        };
        if self.options.kind == TargetKind::File {
            return keep(&self.single_path(), old);
        }
        for file in self.files.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let name = file.path().strip_prefix(&self.folder).ok();
            let replaced = name.map(|name| self.target.join(name));
            if let Some(old) =
                replaced.and_then(|path| fs::symlink_metadata(path).ok()).filter(Metadata::is_file)
            {
                keep(file.path(), &old)?;
            }
        }
        keep(&self.folder, old)
    }
}

/// Whether a name is that of a file in a folder or in one of its subfolders, on any system.
pub(crate) fn is_below(name: &str) -> bool {
    name.split('/').all(|part| !matches!(part, "" | "." | "..")) && !name.contains(['\\', ':', '\0'])
}

/// Whether a rename failed because the target has come or gone since it was looked at.
fn is_race(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotFound};
    matches!(error.kind(), AlreadyExists | DirectoryNotEmpty | NotFound)
}

#[cfg(unix)]
fn symlink(to: &Path, place: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(to, place)
}

#[cfg(windows)]
fn symlink(to: &Path, place: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(to, place)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Close open files first: removing the folder takes descriptors.
        self.files.lock().unwrap_or_else(PoisonError::into_inner).clear();
        // Nobody is left to report to; what cannot be removed now is removed by the next run.
        let _ = self.ownership.clear(&self.target, &self.options.hook);
    }
}
