//! A small file system in memory, to run out of.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::made::shown;

/// A small file system in memory, mounted for each run and released after the last.
pub struct Disk {
    pub path: PathBuf,
}

impl Disk {
    /// A disk at a path where nothing is mounted yet.
    pub fn new(path: &Path) -> Result<Disk, String> {
        fs::create_dir_all(path).map_err(|error| shown(path, error))?;
        Ok(Disk { path: path.to_owned() })
    }

    /// Mounts the file system, or changes the one that is mounted; false if that is not permitted.
    pub fn mount(&self, options: &str) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "none"]).arg(&self.path);
        mount.output().is_ok_and(|output| output.status.success())
    }

    /// Releases the file system, if one is mounted.
    pub fn empty(&self) {
        let _ = Command::new("umount").arg(&self.path).output();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.empty();
    }
}
