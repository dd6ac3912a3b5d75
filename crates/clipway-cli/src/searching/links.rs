//! Results as a folder of links.

use std::path::Path;

use clipway_formats::shown_path;
use clipway_model::output::{OutputError, Staging};

use crate::failure::{Failure, chain};
use crate::ui::Ui;

/// Makes a link to each existing file, named by its place and its own name, and puts the folder into place.
///
/// # Errors
/// A system that makes no links, and writes that fail; the folder is then absent.
pub fn link(paths: &[&Path], staging: Staging, ui: &Ui) -> Result<(), Failure> {
    let refuse = |error: OutputError| Failure::could_not_run(error.code(), chain(&error));
    let digits = paths.len().to_string().len();
    for (number, path) in paths.iter().enumerate() {
        let target = std::path::absolute(path).ok().filter(|target| target.exists());
        let (Some(target), Some(name)) = (target, path.file_name()) else {
            ui.warn(&format!("`{}` is not a file here, and gets no link", shown_path(path)));
            continue;
        };
        // What other systems take for more than a name is replaced.
        let name = name.to_string_lossy().replace(['\\', ':'], "_");
        staging.link(&format!("{:0digits$}-{name}", number + 1), &target).map_err(refuse)?;
    }
    staging.commit().map(|_| ()).map_err(refuse)
}
