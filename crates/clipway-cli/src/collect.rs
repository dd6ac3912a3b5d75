//! Images given on the command line: files, folders and patterns.

use std::fs;
use std::path::{Path, PathBuf};

use clipway_formats::shown_path;
use clipway_run::image::NamedAs;

use crate::failure::{self, Failure};
use crate::text::counted;
use crate::ui::Ui;

/// The images that arguments stand for: a folder stands for the images below it, by the ends of their names, and a
/// pattern such as `*.jpg` for the files that match it, where the shell did not do so. Both are sorted; hidden entries
/// are left out, and links to folders are not followed.
///
/// # Errors
/// A folder that cannot be listed or has no images, and a pattern that matches nothing.
pub fn images(given: &[PathBuf], ui: &Ui) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::with_capacity(given.len());
    for path in given {
        if path.is_dir() {
            let mut found = Found::default();
            found.walk(path)?;
            found.take(path, &mut files, ui)?;
        } else if !path.exists()
            && let Some(pattern) = path.to_str().filter(|text| text.contains(['*', '?', '[']))
        {
            files.extend(matching(pattern)?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// The files of a folder, and the images in formats that cannot be read.
#[derive(Default)]
struct Found {
    images: Vec<PathBuf>,
    unread: Vec<PathBuf>,
}

impl Found {
    fn walk(&mut self, folder: &Path) -> Result<(), Failure> {
        let trouble = |error| failure::folder(folder, &error);
        let mut entries =
            fs::read_dir(folder).map_err(trouble)?.collect::<Result<Vec<_>, _>>().map_err(trouble)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            if entry.file_type().map_err(trouble)?.is_dir() {
                self.walk(&path)?;
            } else {
                match NamedAs::of(&path) {
                    NamedAs::Image => self.images.push(path),
                    NamedAs::Unsupported(_) => self.unread.push(path),
                    NamedAs::Other => {}
                }
            }
        }
        Ok(())
    }

    fn take(self, folder: &Path, files: &mut Vec<PathBuf>, ui: &Ui) -> Result<(), Failure> {
        let shown = shown_path(folder);
        if let Some(first) = self.unread.first() {
            ui.warn(&format!(
                "`{shown}`: {} skipped, in formats that cannot be read, such as `{}`",
                counted(self.unread.len(), "image"),
                shown_path(first)
            ));
        }
        if self.images.is_empty() {
            let message = format!("`{shown}` has no images ({})", NamedAs::IMAGES.join(", "));
            return Err(Failure::could_not_run("missing", message));
        }
        files.extend(self.images);
        Ok(())
    }
}

/// The files that a pattern matches, sorted.
fn matching(pattern: &str) -> Result<Vec<PathBuf>, Failure> {
    let bad =
        |cause: &dyn std::fmt::Display| Failure::could_not_run("bad-option", format!("`{pattern}`: {cause}"));
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::default() };
    let mut files = Vec::new();
    for path in glob::glob_with(pattern, options).map_err(|error| bad(&error))? {
        let path = path.map_err(|error| Failure::could_not_run("io", error))?;
        files.extend((!path.is_dir()).then_some(path));
    }
    if files.is_empty() {
        return Err(Failure::could_not_run("missing", format!("no file matches `{pattern}`")));
    }
    Ok(files)
}
