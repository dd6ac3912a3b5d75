//! Finds the images below folders.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::path::{Component, Path, PathBuf};

use clipway_run::image::NamedAs;
use glob::{MatchOptions, Pattern};

use crate::archive;
use crate::found::{Found, Trouble, modified_ns};

/// The end of the names of archives.
const TAR: &str = "tar";

/// Ends of the names of compressed archives, in which nothing can be found without unpacking them.
const COMPRESSED: [&str; 5] = [".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"];

/// Deepest nesting of folders.
const DEEPEST: usize = 256;

/// What a walk takes, in folders and in archives alike.
#[derive(Clone, Debug, Default)]
pub struct WalkOptions {
    /// What is left out: a pattern without `/` by the name of a file or folder at any depth, one with `/` by the path from
    /// the folder that is walked. What is below a folder that is left out is left out too.
    pub exclude: Vec<Pattern>,
    /// Whether files and folders whose names begin with a dot are taken.
    pub hidden: bool,
    /// Whether links to folders are followed; one that leads back to a folder above it never is.
    pub follow: bool,
}

/// What a walk found.
#[derive(Clone, Debug, Default)]
pub struct Walked {
    /// The folders that were walked, absolute and without links.
    pub roots: Vec<PathBuf>,
    /// The images, folder by folder in the order of names.
    pub images: Vec<Found>,
    /// Number of files in formats that cannot be read, by the ends of their names.
    pub unsupported: BTreeMap<String, u64>,
    /// Folders and archives that could not be walked: nothing is known about what is below them.
    pub troubles: Vec<Trouble>,
    /// Walked folders with nothing at all in them, as a disk that is not mounted leaves them.
    pub empty: Vec<PathBuf>,
}

/// Walks folders; a file that is named itself is taken whatever its name.
pub fn walk(roots: &[PathBuf], options: &WalkOptions) -> Walked {
    let mut walk = Walk { options, walked: Walked::default(), above: Vec::new(), root: PathBuf::new() };
    let mut reals: Vec<PathBuf> = Vec::new();
    for root in roots {
        match root.canonicalize() {
            Ok(real) => reals.push(real),
            Err(error) => {
                let path = std::path::absolute(root).unwrap_or_else(|_| root.clone());
                walk.trouble(&path, &error);
            }
        }
    }
    for (at, real) in reals.iter().enumerate() {
        // A folder below another one is walked with it.
        let is_with =
            |(other, above): (usize, &PathBuf)| real.starts_with(above) && (real != above || other < at);
        if !reals.iter().enumerate().any(is_with) {
            walk.root(real.clone());
        }
    }
    walk.walked
}

struct Walk<'a> {
    options: &'a WalkOptions,
    walked: Walked,
    /// Real paths of the folders above, to see a link that leads back.
    above: Vec<PathBuf>,
    root: PathBuf,
}

impl Walk<'_> {
    fn root(&mut self, root: PathBuf) {
        self.root.clone_from(&root);
        let before = self.walked.troubles.len();
        match fs::metadata(&root) {
            Ok(metadata) if metadata.is_dir() => self.folder(&root, root.clone()),
            Ok(metadata) => self.file(root.clone(), &metadata, true),
            Err(error) => self.trouble(&root, &error),
        }
        if self.walked.troubles[before..].iter().all(|trouble| trouble.path != root) {
            self.walked.roots.push(root);
        }
    }

    /// Walks a folder, whose real path is `real`.
    fn folder(&mut self, folder: &Path, real: PathBuf) {
        if self.above.len() >= DEEPEST {
            let reason = format!("folders are nested more than {DEEPEST} deep");
            return self.walked.troubles.push(Trouble { path: folder.to_owned(), reason });
        }
        let listed = fs::read_dir(folder).and_then(|entries| entries.collect::<io::Result<Vec<DirEntry>>>());
        let mut entries = match listed {
            Ok(entries) => entries,
            Err(error) => return self.trouble(folder, &error),
        };
        if entries.is_empty() && *folder == self.root {
            self.walked.empty.push(folder.to_owned());
        }
        entries.sort_by_key(DirEntry::file_name);
        self.above.push(real);
        for entry in entries {
            let path = entry.path();
            if self.is_left_out(&path) {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => {
                    let real = self.above.last().map(|above| above.join(entry.file_name()));
                    self.folder(&path, real.unwrap_or_else(|| path.clone()));
                }
                Ok(kind) if kind.is_symlink() => self.link(path),
                // One that is gone since it was listed is passed over.
                Ok(_) if is_of_use(&path) => {
                    if let Ok(metadata) = entry.metadata() {
                        self.file(path, &metadata, false);
                    }
                }
                Ok(_) => {}
                Err(error) => self.trouble(&path, &error),
            }
        }
        self.above.pop();
    }

    /// A link to a file is that file; one to a folder is followed only on request.
    fn link(&mut self, path: PathBuf) {
        // A link to nothing is passed over.
        let Ok(metadata) = fs::metadata(&path) else { return };
        if !metadata.is_dir() {
            if is_of_use(&path) {
                self.file(path, &metadata, false);
            }
            return;
        }
        let Ok(real) = path.canonicalize() else { return };
        let leads_back = self.above.iter().any(|above| *above == real || above.starts_with(&real));
        if self.options.follow && !leads_back {
            self.folder(&path, real);
        }
    }

    fn file(&mut self, path: PathBuf, metadata: &Metadata, is_named: bool) {
        let (size, modified_ns) = (metadata.len(), modified_ns(metadata));
        if is_compressed(&path) {
            *self.walked.unsupported.entry("compressed tar".to_owned()).or_default() += 1;
        } else if is_tar(&path) {
            match archive::images(&path, size, modified_ns, |name| self.leaves_out_member(&path, name)) {
                Ok((images, unsupported)) => {
                    self.walked.images.extend(images);
                    for (end, count) in unsupported {
                        *self.walked.unsupported.entry(end).or_default() += count;
                    }
                }
                Err(reason) => self.walked.troubles.push(Trouble { path, reason }),
            }
        } else {
            match NamedAs::of(&path) {
                NamedAs::Unsupported(end) => *self.walked.unsupported.entry(end.to_owned()).or_default() += 1,
                NamedAs::Other if !is_named => {}
                _ => self.walked.images.push(Found { path, size, modified_ns, member: None }),
            }
        }
    }

    /// Whether a member of an archive is left out, by its own name or by that of a folder above it in there.
    fn leaves_out_member(&self, archive: &Path, name: &str) -> bool {
        let mut path = archive.to_owned();
        let mut parts = Path::new(name).components().filter(|part| matches!(part, Component::Normal(_)));
        parts.any(|part| {
            path.push(part);
            self.is_left_out(&path)
        })
    }

    /// Whether a file or folder is left out, as hidden or as excluded.
    fn is_left_out(&self, path: &Path) -> bool {
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        (is_hidden && !self.options.hidden) || self.is_excluded(path)
    }

    fn is_excluded(&self, path: &Path) -> bool {
        let options = MatchOptions { require_literal_separator: true, ..MatchOptions::default() };
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        self.options.exclude.iter().any(|pattern| match pattern.as_str().contains('/') {
            true => pattern.matches_path_with(below, options),
            false => path.file_name().is_some_and(|name| pattern.matches(&name.to_string_lossy())),
        })
    }

    fn trouble(&mut self, path: &Path, error: &io::Error) {
        self.walked.troubles.push(Trouble { path: path.to_owned(), reason: error.to_string() });
    }
}

/// Whether a file's name is that of an image or an archive; others need not be inspected.
fn is_of_use(path: &Path) -> bool {
    NamedAs::of(path) != NamedAs::Other || is_tar(path) || is_compressed(path)
}

fn is_tar(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case(TAR))
}

fn is_compressed(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    COMPRESSED.iter().any(|end| name.ends_with(end))
}
