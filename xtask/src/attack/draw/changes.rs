//! Sources that change while they are exported: what is written must come from one state of them, whole.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::case::{Drawn, OUT, Stage, Verdict, words};
use super::{copy, listing};
use crate::made::{self, shown};
use crate::random::Random;

/// How a file goes from one state to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// The new contents over the old ones, at the same inode.
    InPlace,
    /// Cut to nothing, then written.
    Cut,
    /// A new file under the old name.
    Replaced,
    /// A link to either of two files of the folder, in turn.
    Link,
    /// A part of the file at a time, as `rsync --inplace` writes.
    Pieces,
    /// The whole folder gives way to another.
    Folder,
}

const CHANGES: [Change; 6] =
    [Change::InPlace, Change::Cut, Change::Replaced, Change::Link, Change::Pieces, Change::Folder];

/// Files of a source, and what makes another state of each.
const FILES: [&str; 3] = ["open_clip_model.safetensors", "tokenizer.json", "open_clip_config.json"];

/// The source, in a folder that also holds what it changes by.
const SOURCE: &str = "source/f";

/// Longest wait between two changes, in microseconds: an export of the small model takes some 30 ms.
const LONGEST_WAIT: usize = 20_000;

/// Parts of a file that is written in pieces.
const PIECES: usize = 8;

pub(super) fn draw(random: &mut Random, stage: &Stage<'_>) -> Result<Drawn, String> {
    let name = random.pick(&FILES);
    let change = random.pick(&CHANGES);
    let [first, second] =
        ["first", "second"].map(|state| stage.folder.join("states").join(state).join(SOURCE));
    made::write_small(&first, 64, 1, &made::tokenizer(), "t")?;
    copy(&first, &second)?;
    write_other(&second.join(name), name)?;
    let expected = [&first, &second].map(|state| exported(stage.program, state));
    let [expected_first, expected_second] = expected;
    let expected = [expected_first?, expected_second?];
    if expected[0] == expected[1] {
        return Err(format!("both states of `{name}` give the same artifact"));
    }
    let source = stage.folder.join(SOURCE);
    copy(&first, &source)?;
    let waits: Vec<Duration> =
        (0..64).map(|_| Duration::from_micros(random.below(LONGEST_WAIT) as u64)).collect();
    let states = [first, second];
    let out = stage.folder.join(OUT);
    let beside = move |ended: &AtomicBool| {
        for (turn, wait) in waits.iter().cycle().enumerate() {
            thread::sleep(*wait);
            if ended.load(Ordering::Relaxed) {
                return;
            }
            // The program may be reading what is renamed; the next turn tries again.
            let _ = change.make(&source, name, &states[(turn + 1) % 2], turn);
        }
    };
    let after = move |done: bool| {
        if !done {
            return Ok(Vec::new());
        }
        let found = contents(&out)?;
        let problem = || format!("{:?} differ from either state's", differing(&found, &expected));
        Ok(if expected.contains(&found) { Vec::new() } else { vec![problem()] })
    };
    Ok(Drawn {
        arguments: words(&format!("export {SOURCE} --out {OUT} --no-verify")),
        expected: Verdict::Either,
        seconds: 3,
        megabytes: 400,
        disk: 60,
        detail: format!("{change:?} of `{name}`"),
        beside: Some(Box::new(beside)),
        after: Some(Box::new(after)),
    })
}

impl Change {
    /// Brings `name` in `folder` to a state.
    fn make(self, folder: &Path, name: &str, state: &Path, turn: usize) -> io::Result<()> {
        let path = folder.join(name);
        let new = state.join(name);
        match self {
            Change::InPlace => {
                use std::io::Write;
                let bytes = fs::read(new)?;
                let mut file = fs::File::options().write(true).open(&path)?;
                file.write_all(&bytes)?;
                file.set_len(bytes.len() as u64)
            }
            Change::Cut => fs::write(&path, fs::read(new)?),
            Change::Replaced => {
                let beside = folder.with_extension("new");
                fs::copy(new, &beside)?;
                fs::rename(beside, path)
            }
            Change::Link => {
                let kept = folder.join(format!("state-{}", turn % 2));
                fs::copy(new, &kept)?;
                let link = folder.with_extension("link");
                super::links::link(kept.file_name().unwrap_or_default().as_ref(), &link)?;
                fs::rename(link, path)
            }
            Change::Pieces => {
                use std::io::{Seek, SeekFrom, Write};
                let bytes = fs::read(new)?;
                let mut file = fs::File::options().write(true).open(&path)?;
                for (index, piece) in bytes.chunks(bytes.len().div_ceil(PIECES).max(1)).enumerate() {
                    file.seek(SeekFrom::Start((index * bytes.len().div_ceil(PIECES)) as u64))?;
                    file.write_all(piece)?;
                    thread::sleep(Duration::from_micros(200));
                }
                file.set_len(bytes.len() as u64)
            }
            Change::Folder => {
                let (new, old) = (folder.with_extension("new"), folder.with_extension("old"));
                copy(state, &new).map_err(io::Error::other)?;
                fs::rename(folder, &old)?;
                fs::rename(new, folder)?;
                fs::remove_dir_all(old)
            }
        }
    }
}

/// Writes the other state of a file, of the same length where that is possible.
fn write_other(path: &Path, name: &str) -> Result<(), String> {
    let text = |from: &str, to: &str| {
        let text = fs::read_to_string(path).map_err(|error| shown(path, error))?;
        let changed = text.replace(from, to);
        if changed == text {
            return Err(format!("`{}` holds no {from}", path.display()));
        }
        fs::write(path, changed).map_err(|error| shown(path, error))
    };
    match name {
        "tokenizer.json" => text(r###""a":2,"##a":3"###, r###""a":3,"##a":2"###),
        "open_clip_config.json" => {
            text(r#""context_length": 16"#, r#""context_length": 16, "act_kwargs": {}"#)
        }
        _ => {
            let mut bytes = fs::read(path).map_err(|error| shown(path, error))?;
            let half = bytes.len() / 2;
            // A bit of each mantissa in the last half, so that all values stay finite.
            bytes[half..].chunks_mut(4).for_each(|value| value[0] ^= 1);
            fs::write(path, bytes).map_err(|error| shown(path, error))
        }
    }
}

/// The files that a state gives when nothing changes it.
fn exported(program: &Path, state: &Path) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let folder = state.ancestors().nth(2).unwrap_or(state);
    let mut command = Command::new(program);
    command.args(["export", SOURCE, "--out", OUT, "--no-verify", "--quiet"]).current_dir(folder);
    let output = command.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("a still source: {}", String::from_utf8_lossy(&output.stderr)));
    }
    contents(&folder.join(OUT))
}

fn contents(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let read = |name: String| {
        let path: PathBuf = folder.join(&name);
        fs::read(&path).map(|bytes| (name, bytes)).map_err(|error| shown(&path, error))
    };
    listing(folder)?.into_iter().map(read).collect()
}

/// The files that agree with neither state.
fn differing<'a>(
    found: &'a BTreeMap<String, Vec<u8>>,
    expected: &[BTreeMap<String, Vec<u8>>; 2],
) -> Vec<&'a str> {
    let alone = |name: &String, bytes: &Vec<u8>| expected.iter().all(|state| state.get(name) != Some(bytes));
    found.iter().filter(|(name, bytes)| alone(name, bytes)).map(|(name, _)| name.as_str()).collect()
}
