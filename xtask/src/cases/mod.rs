//! Cases from the field: each folder's `make.py` writes files and what the source's own library makes of them, and the
//! program's commands on them are judged.

mod features;
mod judge;
mod run;
mod script;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use regex::Regex;

use crate::outcome::{Outcome, tell};
use judge::Judge;
use run::Place;

/// How cases are run.
#[derive(clap::Args)]
pub struct Options {
    /// The folder of cases, each a folder; `common` beside them is theirs
    folder: PathBuf,
    /// The program
    #[arg(long, value_name = "FILE", default_value = "target/debug/clipway", env = "CLIPWAY")]
    clipway: PathBuf,
    /// Python with the libraries that the cases use
    #[arg(long, value_name = "FILE", default_value = "python3", env = "PYTHON")]
    python: PathBuf,
    /// Run only cases whose name contains a match of this regular expression
    #[arg(long, value_name = "REGEX")]
    only: Option<Regex>,
    /// Run only the cases of wrong features and some others, in about a minute
    #[arg(long)]
    fast: bool,
    /// Cases that run at a time
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
}

/// Runs and judges every case; true if all are right and there was at least one.
pub fn run(options: &Options) -> Result<bool, String> {
    if !has_python(&options.python) {
        return Err(format!(
            "`{}` cannot import torch and open_clip: pass `--python`",
            options.python.display()
        ));
    }
    let clipway = options.clipway.canonicalize().map_err(|error| {
        format!("`{}`: {error}; build it with `cargo build -p clipway-cli`", options.clipway.display())
    })?;
    let mut cases = Vec::new();
    let fault = |error: std::io::Error| format!("`{}`: {error}", options.folder.display());
    for entry in std::fs::read_dir(&options.folder).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let wanted = options.only.as_ref().is_none_or(|only| only.is_match(&name));
        let is_case = path.is_dir() && name != "common" && !name.starts_with(['.', '_']);
        if is_case && wanted {
            cases.push((name, path));
        }
    }
    cases.sort();
    let mut judged =
        cases.into_iter().map(|(name, path)| (name, judge::find(&path), path)).collect::<Vec<_>>();
    // A case that nothing describes fails, fast or not.
    judged.retain(|(_, judge, _)| !options.fast || judge.as_ref().map_or(true, |judge| judge.fast));
    let (sender, outcomes) = std::sync::mpsc::channel();
    let next = std::sync::Mutex::new(judged.into_iter());
    std::thread::scope(|scope| {
        for sender in vec![sender; options.jobs.into()] {
            let (next, clipway) = (&next, &clipway);
            scope.spawn(move || {
                let take = || next.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
                while let Some((name, judge, path)) = take() {
                    let result = judge.and_then(|judge| self::judged(&path, &judge, clipway, options));
                    let passed = result.is_ok();
                    let outcome = Outcome { name, passed, detail: result.unwrap_or_else(|cause| cause) };
                    if sender.send(outcome).is_err() {
                        break;
                    }
                }
            });
        }
        Ok(tell(outcomes))
    })
}

/// Whether Python is there with what every case needs.
fn has_python(python: &Path) -> bool {
    let mut command = Command::new(python);
    command.args(["-c", "import torch, open_clip"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Makes a case in a folder of its own and judges it; what was measured, or what is wrong.
fn judged(case: &Path, judge: &Judge, clipway: &Path, options: &Options) -> Result<String, String> {
    let temporary = tempfile::tempdir().map_err(|error| error.to_string())?;
    let place = Place::make(temporary.path(), case, judge, clipway, &options.python)?;
    let mut found = Vec::new();
    for step in &judge.steps {
        found.extend(place.step(step)?);
    }
    found.extend(judge.note.iter().map(|note| format!("({note})")));
    Ok(if found.is_empty() { "as stated".to_owned() } else { found.join("; ") })
}
