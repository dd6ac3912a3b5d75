//! Hostile, broken or odd files: each is opened in its own process and must match its manifest.
//!
//! A refusal is one message that names the file and the place, within limits of time and memory, and leaves nothing
//! behind; what loads is compared tensor by tensor. A panic, an abort, a hang or output on stderr fails the case.

mod child;
mod contract;
mod exceptions;
mod judge;
mod limits;
mod links;
mod manifest;
mod open;

pub use child::usage_of;
pub use contract::run as run_contract;
pub use manifest::Format;
pub use open::run as run_case;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use regex::Regex;

use crate::outcome::{Outcome, tell};
use exceptions::LEAST_REFUSED;
use limits::Limits;
use manifest::{Case, Manifest};

/// Runs every case in a folder's `manifest.json` that matches `only` and does not match `except`.
pub fn run(folder: &Path, only: Option<&Regex>, except: Option<&Regex>) -> Result<bool, String> {
    if cfg!(debug_assertions) {
        return Err("the limits of time hold for release builds: run `cargo xtask corpus`".to_owned());
    }
    let folder = folder.canonicalize().map_err(|error| format!("`{}`: {error}", folder.display()))?;
    let manifest = Manifest::read(&folder)?;
    if manifest.canary.exists() {
        return Err(format!("`{}` is there already: remove it", manifest.canary.display()));
    }
    if !cfg!(target_os = "linux") {
        eprintln!("note: processor time and memory are not measured on this system");
    }
    if let Some((waiting, processors)) = limits::load().filter(|_| limits::is_loaded()) {
        eprintln!(
            "note: the machine is loaded ({waiting} on {processors} processors): processor time is held to the \
             limits, and time by the clock to a multiple"
        );
    }
    let cases = manifest.cases(only);
    let share = if only.is_none() { check_share(&cases) } else { None };
    let name = |case: &manifest::Read| match case {
        Ok(case) => case.name.clone(),
        Err((name, _)) => name.clone(),
    };
    let kept = cases.into_iter().filter(|case| except.is_none_or(|except| !except.is_match(&name(case))));
    let outcomes = kept.map(|case| match case {
        Err((name, why)) => Outcome { name, passed: false, detail: why },
        Ok(case) => {
            let judged = check_with_links(&case, &case.file(&folder), &manifest.canary);
            let (passed, text) = judged.map_or_else(|why| (false, why), |found| (true, found));
            Outcome { name: case.name, passed, detail: format!("{}: {text}", case.format.name()) }
        }
    });
    Ok(tell(outcomes.chain(share)))
}

/// Fails if too many strict cases are excepted.
fn check_share(cases: &[manifest::Read]) -> Option<Outcome> {
    let strict: Vec<&Case> = cases.iter().flatten().filter(|case| case.is_strict()).collect();
    let refused = strict.iter().filter(|case| exceptions::of(case).is_none()).count();
    let detail = format!("{refused} of {} are to be refused, less than {LEAST_REFUSED} %", strict.len());
    let is_too_few = refused * 100 < strict.len() * LEAST_REFUSED;
    is_too_few.then(|| Outcome { name: "strict".to_owned(), passed: false, detail })
}

/// Runs one case; if its folder stores links as text, on a copy with real links.
fn check_with_links(case: &Case, file: &Path, canary: &Path) -> Result<String, String> {
    match links::restore(file).map_err(|error| format!("`{}`: {error}", file.display()))? {
        Some(restored) => check(case, restored.file(), canary),
        None => check(case, file, canary),
    }
}

/// Runs one case.
fn check(case: &Case, file: &Path, canary: &Path) -> Result<String, String> {
    let metadata = file.metadata().map_err(|error| format!("the file of the case is absent: {error}"))?;
    if let Some(expected) = &case.file_sha256 {
        let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
        if open::sha256(&bytes) != *expected {
            return Err("the file is not the one that the manifest means: its SHA-256 differs".to_owned());
        }
    }
    let folder = file.parent().unwrap_or(file);
    let before = listing(folder)?;
    // A case without a hash is a folder, all of whose files may be read.
    let bytes = match case.file_sha256 {
        Some(_) => metadata.len(),
        None => before.values().map(|stamp| stamp.bytes).sum(),
    };
    let limits = Limits::of(case.format, bytes, limits::is_loaded());
    let seen = child::observe(case.format, file, &limits)?;
    let judged = judge::judge(case, file, &seen, exceptions::of(case));
    if canary.exists() {
        return Err(format!("`{}` was made: something in the file was executed", canary.display()));
    }
    if let Some(path) = first_difference(&before, &listing(folder)?) {
        return Err(format!("`{}` was made, changed or removed", path.display()));
    }
    let memory = seen.memory.map_or_else(String::new, |memory| format!(", {} MiB", memory >> 20));
    judged.map(|found| format!("{found} ({} ms{memory})", seen.wall.as_millis()))
}

/// What shows whether a file was written.
#[derive(Debug, PartialEq)]
struct Stamp {
    bytes: u64,
    changed: Option<SystemTime>,
}

/// Lists the files of a folder.
fn listing(folder: &Path) -> Result<BTreeMap<PathBuf, Stamp>, String> {
    let failed = |error: std::io::Error| format!("`{}`: {error}", folder.display());
    let mut found = BTreeMap::new();
    for entry in folder.read_dir().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let metadata = entry.metadata().map_err(failed)?;
        found.insert(entry.path(), Stamp { bytes: metadata.len(), changed: metadata.modified().ok() });
    }
    Ok(found)
}

/// Returns the first path whose stamps differ.
fn first_difference<'a>(
    before: &'a BTreeMap<PathBuf, Stamp>,
    after: &'a BTreeMap<PathBuf, Stamp>,
) -> Option<&'a PathBuf> {
    let gone_or_changed = before.iter().find(|(path, stamp)| after.get(*path) != Some(stamp));
    gone_or_changed
        .or_else(|| after.iter().find(|(path, _)| !before.contains_key(*path)))
        .map(|(path, _)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_seen() {
        let files = |files: &[(&str, u64)]| -> BTreeMap<PathBuf, Stamp> {
            files.iter().map(|&(path, bytes)| (path.into(), Stamp { bytes, changed: None })).collect()
        };
        let check = |before: &[(&str, u64)], after: &[(&str, u64)], expected: Option<&str>| {
            let (before, after) = (files(before), files(after));
            assert_eq!(first_difference(&before, &after).map(PathBuf::as_path), expected.map(Path::new));
        };
        check(&[("a", 1)], &[("a", 1)], None);
        check(&[("a", 1)], &[("a", 2)], Some("a"));
        check(&[("a", 1)], &[], Some("a"));
        check(&[], &[("a", 1)], Some("a"));
    }
}
