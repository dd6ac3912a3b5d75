//! Results as a folder of links.

use std::io;
use std::path::Path;

use clipway_formats::shown_path;
use clipway_model::output::Staging;

use crate::failure::{Failure, chain};
use crate::ui::Ui;

/// Makes a link to each file that is there, named by its place and its own name, and puts the folder into place.
///
/// # Errors
/// A system that makes no links, and writes that fail; the folder is then absent.
pub fn link(paths: &[&Path], staging: Staging, ui: &Ui) -> Result<(), Failure> {
    let digits = paths.len().to_string().len();
    for (number, path) in paths.iter().enumerate() {
        let target = std::path::absolute(path).ok().filter(|target| target.exists());
        let (Some(target), Some(name)) = (target, path.file_name()) else {
            ui.warn(&format!("`{}` is not a file here, and gets no link", shown_path(path)));
            continue;
        };
        let mut place = std::ffi::OsString::from(format!("{:0digits$}-", number + 1));
        place.push(name);
        let made = symlink(&target, &staging.folder().join(&place));
        made.map_err(|error| {
            let message = format!("cannot link to `{}`: {error}", shown_path(path));
            Failure::could_not_run("write", message)
        })?;
    }
    let placed = staging.commit();
    placed.map(|_| ()).map_err(|error| Failure::could_not_run(error.code(), chain(&error)))
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
