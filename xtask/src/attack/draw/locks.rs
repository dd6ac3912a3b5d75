//! What another user may put beside a target, under the names that a run gives to its own locks and folders.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::case::{Drawn, OUT, Stage, Verdict, words};
use super::links::{link, pipe};
use crate::made::{self, shown};
use crate::random::Random;

/// What lies under a temporary name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing {
    Empty,
    /// A file that another process holds locked.
    Held,
    /// A file that nobody may read.
    Unreadable,
    Pipe,
    /// A folder with a file in it.
    Folder,
    /// A folder with a link to a folder outside.
    FolderWithLink,
    /// A link to a file outside.
    LinkToFile,
    /// A link to a folder outside.
    LinkToFolder,
    /// A link to a device.
    Device,
    Loop,
    /// A terabyte, none of it stored.
    Sparse,
}

const THINGS: [Thing; 11] = [
    Thing::Empty,
    Thing::Held,
    Thing::Unreadable,
    Thing::Pipe,
    Thing::Folder,
    Thing::FolderWithLink,
    Thing::LinkToFile,
    Thing::LinkToFolder,
    Thing::Device,
    Thing::Loop,
    Thing::Sparse,
];

/// Endings of a run's temporary names.
const ENDINGS: [&str; 4] = ["lock", "lock-new", "tmp", "old"];

/// What the file outside says, before and after.
const PRECIOUS: &str = "precious";

pub(super) fn draw(random: &mut Random, stage: &Stage<'_>) -> Result<Drawn, String> {
    made::write_small(&stage.folder.join("f"), 64, 1, &made::tokenizer(), "t")?;
    let outside = stage.folder.join("outside");
    fs::create_dir(&outside).map_err(|error| shown(&outside, error))?;
    let precious = outside.join("file");
    fs::write(&precious, PRECIOUS).map_err(|error| shown(&precious, error))?;
    let identity = format!("{}-{:016x}", 1 + random.below(99_999), random.below(usize::MAX));
    let mut held = Vec::new();
    let mut planted = Vec::new();
    for ending in ENDINGS {
        if random.below(3) > 0 {
            continue;
        }
        let path = stage.folder.join(format!(".{OUT}.clipway-{identity}.{ending}"));
        let thing = random.pick(&THINGS);
        held.extend(thing.make(&path, &outside).map_err(|error| shown(&path, error))?);
        planted.push(format!("{thing:?} as .{ending}"));
    }
    let replaces = random.below(2) == 0;
    if replaces {
        super::copy(stage.exported, &stage.folder.join(OUT))?;
    }
    let place = stage.folder.to_owned();
    let after = move |done: bool| {
        drop(held);
        let mut problems = Vec::new();
        if fs::read_to_string(&precious).ok().as_deref() != Some(PRECIOUS) {
            problems.push("a file outside is gone or changed".to_owned());
        }
        if outside.read_dir().map_err(|error| shown(&outside, error))?.count() != 1 {
            problems.push("something was written outside".to_owned());
        }
        // What was there before stays where a run is refused; a planted folder never becomes the artifact.
        if (done || replaces) && !place.join(OUT).join("clipway.json").is_file() {
            problems.push("the target holds no artifact".to_owned());
        }
        Ok(problems)
    };
    Ok(Drawn {
        arguments: words(&format!("export f --out {OUT} --no-verify --force")),
        expected: Verdict::Either,
        seconds: 3,
        megabytes: 400,
        disk: 60,
        detail: format!(
            "{} beside {}",
            if planted.is_empty() { "nothing".to_owned() } else { planted.join(", ") },
            if replaces { "an artifact" } else { "no target" }
        ),
        after: Some(Box::new(after)),
        ..Drawn::default()
    })
}

impl Thing {
    /// Puts it at a path; returns the file whose lock is held.
    fn make(self, path: &Path, outside: &Path) -> io::Result<Option<fs::File>> {
        match self {
            Thing::Empty => fs::write(path, "")?,
            Thing::Held => {
                let file = fs::File::create(path)?;
                file.lock()?;
                return Ok(Some(file));
            }
            Thing::Unreadable => {
                fs::write(path, "")?;
                let mut mode = fs::metadata(path)?.permissions();
                mode.set_readonly(true);
                fs::set_permissions(path, mode)?;
            }
            Thing::Pipe => pipe(path)?,
            Thing::Folder => {
                fs::create_dir(path)?;
                fs::write(path.join("open_clip_model.safetensors"), "other weights")?;
            }
            Thing::FolderWithLink => {
                fs::create_dir(path)?;
                link(outside, &path.join("link"))?;
            }
            Thing::LinkToFile => link(&outside.join("file"), path)?,
            Thing::LinkToFolder => link(outside, path)?,
            Thing::Device => link(Path::new("/dev/zero"), path)?,
            Thing::Loop => link(&PathBuf::from(path.file_name().unwrap_or_default()), path)?,
            Thing::Sparse => fs::File::create(path)?.set_len(1 << 40)?,
        }
        Ok(None)
    }
}
