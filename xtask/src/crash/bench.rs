//! Two sources of one model, and exports that replace the artifact of one by that of the other.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use sha2::{Digest, Sha256};

use crate::made::{self, shown};

/// The two sources.
pub const LETTERS: [&str; 2] = ["a", "b"];

/// Exit status of a command that finds its target occupied.
const COULD_NOT_RUN: i32 = 2;

/// What an export writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Kind {
    /// A folder with one file of weights
    Single,
    /// A folder with shards and their index
    Sharded,
    /// A folder with the weights in both formats, from an exported folder
    Folder,
}

/// File names in a folder, each with its SHA-256.
pub type Content = BTreeMap<PathBuf, String>;

/// Two sources and their exports.
pub struct Bench {
    binary: PathBuf,
    folder: PathBuf,
    kind: Kind,
    megabytes: usize,
    /// The export of each source.
    pub wholes: [Content; 2],
    /// How long the last export took.
    pub length: Duration,
}

impl Bench {
    /// Creates both sources and exports both; afterwards `b`'s artifact is in place.
    pub fn new(kind: Kind, binary: &Path, folder: &Path, megabytes: usize) -> Result<Bench, String> {
        remove(folder)?;
        fs::create_dir_all(folder).map_err(|error| shown(folder, error))?;
        let (binary, folder) = (binary.to_owned(), folder.to_owned());
        let wholes = [Content::new(), Content::new()];
        let mut bench = Bench { binary, folder, kind, megabytes, wholes, length: Duration::ZERO };
        for letter in LETTERS {
            write_source(&bench.path(letter), letter, megabytes)?;
        }
        if kind == Kind::Folder {
            for letter in LETTERS {
                finish(bench.spawn(bench.export(letter, &bench.path(&format!("source-{letter}")), &[]))?)?;
            }
        }
        for source in [0, 1] {
            // Reading files for the first time takes longer.
            let start = Instant::now();
            finish(bench.spawn(bench.replace(source))?)?;
            bench.length = start.elapsed();
            bench.wholes[source] = content(&bench.out())?;
        }
        if bench.wholes[0] == bench.wholes[1] {
            return Err("the two sources give one artifact".to_owned());
        }
        Ok(bench)
    }

    /// Returns a path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns the target.
    pub fn out(&self) -> PathBuf {
        self.path("out")
    }

    /// Builds an export command without verification.
    pub fn export(&self, letter: &str, out: &Path, more: &[&str]) -> Command {
        self.arguments(&self.path(letter).join("open_clip_model.safetensors"), out, more)
    }

    fn arguments(&self, source: &Path, out: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("export").arg(source).arg("--out").arg(out).args(["--no-verify", "--quiet"]).args(more);
        command
    }

    /// Builds the command that exports a source over the current target.
    pub fn replace(&self, source: usize) -> Command {
        let letter = LETTERS[source];
        let out = self.out();
        match self.kind {
            Kind::Single => self.export(letter, &out, &["--force"]),
            Kind::Sharded => {
                let size = format!("{}MB", self.megabytes.div_ceil(6));
                self.export(letter, &out, &["--force", "--max-shard-size", &size])
            }
            Kind::Folder => {
                let source = self.path(&format!("source-{letter}"));
                self.arguments(&source, &out, &["--force", "--to", "open_clip,pytorch"])
            }
        }
    }

    /// Starts a command.
    pub fn spawn(&self, mut command: Command) -> Result<Child, String> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().map_err(|error| shown(&self.binary, error))
    }

    /// Returns which source's artifact a target holds; anything else is an error.
    pub fn placed(&self, target: &Path) -> Result<usize, String> {
        let found = content(target)?;
        let placed = self.wholes.iter().position(|whole| *whole == found);
        placed.ok_or_else(|| format!("neither the old artifact nor the new one: {found:?}"))
    }

    /// Lists names next to a target other than the sources.
    pub fn leftovers(&self, target: &Path) -> Result<Vec<String>, String> {
        let folder = target.parent().unwrap_or(target);
        let entries = fs::read_dir(folder).map_err(|error| shown(folder, error))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| shown(folder, error))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_ours = LETTERS.contains(&name.as_str()) || name.starts_with("source-") || name == "disk";
            if !is_ours && entry.path() != target {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Checks that a run that finds the artifact in place, and so writes nothing, also leaves nothing else behind.
    pub fn check_next_run(&self, target: &Path) -> Result<(), String> {
        let status = self.spawn(self.export("a", target, &[]))?.wait().map_err(|error| error.to_string())?;
        if status.code() != Some(COULD_NOT_RUN) {
            return Err(format!("the next run ended with {status}"));
        }
        match self.leftovers(target)?.as_slice() {
            [] => Ok(()),
            names => Err(format!("after the next run there is {names:?}")),
        }
    }
}

/// Waits for an export that must succeed.
pub fn finish(child: Child) -> Result<(), String> {
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("the export ended with {}: {}", output.status, said(&output))),
    }
}

/// Returns what a run wrote to stderr.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Writes a source of about this many megabytes, whose weights depend on `letter`.
fn write_source(folder: &Path, letter: &str, megabytes: usize) -> Result<(), String> {
    // A few wide layers, for many bytes.
    let width = if megabytes < 50 { 128 } else { 512 };
    let layers = (megabytes * 1_000_000 / (12 * width * width * 4)).max(1);
    made::write_small(folder, width, layers, &made::tokenizer(), letter)
}

/// Hashes every file below a folder.
pub fn content(folder: &Path) -> Result<Content, String> {
    let mut found = Content::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).map_err(|error| shown(&at, error))? {
            let path = entry.map_err(|error| shown(&at, error))?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut hash = Sha256::new();
            let copied = fs::File::open(&path).and_then(|mut file| io::copy(&mut file, &mut hash));
            copied.map_err(|error| shown(&path, error))?;
            let hex = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            found.insert(path.strip_prefix(folder).unwrap_or(&path).to_owned(), hex);
        }
    }
    Ok(found)
}

/// Removes a folder if it exists.
pub fn remove(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(shown(folder, error)),
        _ => Ok(()),
    }
}
