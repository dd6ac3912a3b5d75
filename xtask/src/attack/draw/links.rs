//! Links by files: a file in a folder becomes a link, a pipe, a folder, a device or something huge.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use super::case::{Drawn, OUT, SECRET, Stage, Verdict, words};
use crate::made::{self, shown};
use crate::random::Random;

/// What a file turns into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// A link to the same contents outside the folder.
    Outside,
    /// The same, with an absolute path.
    Absolute,
    /// A link to a link in the folder that leads outside.
    TwoHops,
    /// A link to another file, which contains a secret.
    Secret,
    /// A link to a device.
    Device,
    /// A link to itself.
    Loop,
    Dangling,
    /// A link to a file in a subfolder.
    Inside,
    /// A hard link to a file outside, equivalent to the file itself.
    HardLink,
    Pipe,
    Folder,
    /// A terabyte, none of it stored.
    Sparse,
}

const CHANGES: [Change; 12] = [
    Change::Outside,
    Change::Absolute,
    Change::TwoHops,
    Change::Secret,
    Change::Device,
    Change::Loop,
    Change::Dangling,
    Change::Inside,
    Change::HardLink,
    Change::Pipe,
    Change::Folder,
    Change::Sparse,
];

pub(super) fn draw(random: &mut Random, stage: &Stage<'_>) -> Result<Drawn, String> {
    let folder = stage.folder.join("f");
    let is_artifact = random.below(2) == 0;
    if is_artifact {
        super::copy(stage.exported, &folder)?;
    } else {
        made::write_small(&folder, 64, 1, &made::tokenizer(), "t")?;
    }
    let mut names: Vec<String> = super::listing(&folder)?;
    // No command reads a model card except to hash it.
    names.retain(|name| name != "README.md");
    names.sort();
    let name = names[random.below(names.len())].clone();
    let change = random.pick(&CHANGES);
    let place = stage.folder.join("outside");
    change.make(&folder, &name, &place).map_err(|error| shown(&folder.join(&name), error))?;
    let command = random.below(4);
    let arguments = match command {
        0 if is_artifact => "verify f".to_owned(),
        1 => "inspect f".to_owned(),
        2 => "embed f --text a".to_owned(),
        _ => format!("export f --out {OUT} --no-verify"),
    };
    // Export reads and verify hashes every file; the others read only what they need.
    let reads_all = arguments.starts_with("export") || arguments.starts_with("verify");
    Ok(Drawn {
        expected: change.expected(reads_all, is_artifact),
        arguments: words(&arguments),
        seconds: 3,
        megabytes: 400,
        disk: 60,
        detail: format!(
            "{change:?} for `{name}` of {}",
            if is_artifact { "an artifact" } else { "a source" }
        ),
        ..Drawn::default()
    })
}

impl Change {
    fn expected(self, reads_all: bool, is_artifact: bool) -> Verdict {
        match self {
            Change::HardLink => Verdict::Done,
            // The artifact does not list the subfolder that the link leads to.
            Change::Inside if is_artifact => Verdict::Either,
            Change::Inside => Verdict::Done,
            _ if !reads_all => Verdict::Either,
            Change::Outside | Change::Absolute | Change::TwoHops | Change::Secret | Change::Device => {
                Verdict::Refused(&["path-escape"])
            }
            Change::Loop | Change::Dangling | Change::Pipe | Change::Folder => {
                Verdict::Refused(&["io", "unlisted", "no-weights", "unsupported"])
            }
            Change::Sparse => {
                Verdict::Refused(&["too-large", "malformed", "checksum", "truncated", "unknown-format"])
            }
        }
    }

    /// Changes the file `name` of `folder`; anything outside the folder goes to `place`.
    fn make(self, folder: &Path, name: &str, place: &Path) -> io::Result<()> {
        let path = folder.join(name);
        fs::create_dir(place)?;
        let outside = place.join(name);
        match self {
            Change::HardLink => return fs::hard_link(&path, &outside),
            Change::Inside => {
                fs::create_dir(folder.join("sub"))?;
                fs::rename(&path, folder.join("sub").join(name))?;
                return link(&Path::new("sub").join(name), &path);
            }
            Change::Sparse => return fs::File::create(&path)?.set_len(1 << 40),
            Change::Secret => {
                fs::remove_file(&path)?;
                fs::write(&outside, format!(r#"{{"pad_token": "{SECRET}", "vocab": {{"{SECRET}": 1}}}}"#))?;
            }
            Change::Device | Change::Loop | Change::Dangling | Change::Pipe | Change::Folder => {
                fs::remove_file(&path)?;
            }
            Change::Outside | Change::Absolute | Change::TwoHops => fs::rename(&path, &outside)?,
        }
        match self {
            Change::Outside | Change::Secret => link(&Path::new("../outside").join(name), &path),
            Change::Absolute => link(&outside, &path),
            Change::TwoHops => {
                fs::create_dir(folder.join("sub"))?;
                link(&Path::new("../../outside").join(name), &folder.join("sub/hop"))?;
                link(Path::new("sub/hop"), &path)
            }
            Change::Device => link(Path::new("/dev/zero"), &path),
            Change::Loop => link(Path::new(name), &path),
            Change::Dangling => link(Path::new("nowhere"), &path),
            Change::Folder => fs::create_dir(&path),
            _ => pipe(&path),
        }
    }
}

#[cfg(unix)]
pub(super) fn link(target: &Path, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(not(unix))]
pub(super) fn link(target: &Path, path: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, path)
}

pub(super) fn pipe(path: &Path) -> io::Result<()> {
    let status = Command::new("mkfifo").arg(path).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("mkfifo failed")) }
}
