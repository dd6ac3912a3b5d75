//! Attacks: folders with `make.py`, which creates a hostile input, and `run.sh`, which shows what the program does with
//! it. Each is run under observation and judged by its expectations. More are drawn from a seed.

mod draw;
mod expected;
mod watched;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::demo::{clipway, root};
use crate::outcome::{Outcome, tell};
use expected::Expected;
use watched::Watched;

/// Expectations of the given attacks, by folder name.
const EXPECTATIONS: &str = "xtask/data/attacks.json";

/// What to run.
#[derive(clap::Args)]
pub struct Options {
    /// The folder of attacks
    #[arg(required_unless_present = "draw")]
    folder: Option<PathBuf>,
    /// Draw attacks from this number on: views by deflation, tiles by codecs, growth by normalizers, links by files
    #[arg(long, value_name = "SEED")]
    draw: Option<u64>,
    /// How many attacks to draw; 1 repeats the case SEED
    #[arg(long, value_name = "N", default_value_t = 40, requires = "draw")]
    count: u64,
    /// Run only attacks whose name contains a match of this regular expression
    #[arg(long, value_name = "REGEX")]
    only: Option<regex::Regex>,
    /// The program; built from this checkout by default
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// The Python that creates the inputs
    #[arg(long, default_value = "python3")]
    python: String,
}

/// Runs every attack of a folder and every drawn one; returns true if all passed and there was at least one.
pub fn run(options: &Options) -> Result<bool, String> {
    let read = std::fs::read_to_string(root().join(EXPECTATIONS)).map_err(|error| error.to_string())?;
    let known: BTreeMap<String, Expected> =
        serde_json::from_str(&read).map_err(|error| format!("{EXPECTATIONS}: {error}"))?;
    let program = match &options.program {
        Some(program) => program.canonicalize().map_err(|error| format!("{}: {error}", program.display()))?,
        None => clipway()?,
    };
    let only = options.only.as_ref();
    let names = options.folder.as_deref().map(cases).transpose()?.unwrap_or_default();
    let wanted = names.iter().filter(|name| only.is_none_or(|only| only.is_match(name)));
    let folder = options.folder.clone().unwrap_or_default();
    let handed = wanted.map(|name| {
        let case = Case { folder: folder.join(name), program: &program, python: &options.python };
        let judged = case.expected(known.get(name)).and_then(|expected| case.judged(&expected));
        let (passed, detail) = match judged {
            Ok((problems, measured)) if problems.is_empty() => (true, measured),
            Ok((problems, measured)) => (false, format!("{measured}: {}", problems.join("; "))),
            Err(error) => (false, error),
        };
        Outcome { name: name.clone(), passed, detail }
    });
    let draw = |seed| draw::run(&program, &root().join("examples/emoji-clip"), seed, options.count, only);
    let drawn = options.draw.map(draw).transpose()?;
    Ok(tell(handed.chain(drawn.into_iter().flatten())))
}

/// Lists all folders except those of helpers; a folder without `run.sh` is a failed case.
fn cases(folder: &Path) -> Result<Vec<String>, String> {
    let wrong = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && name != "lib" && !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

struct Case<'a> {
    folder: PathBuf,
    program: &'a Path,
    python: &'a str,
}

impl Case<'_> {
    /// Returns the expectations: `expected.json` next to the case, otherwise the known ones.
    fn expected(&self, known: Option<&Expected>) -> Result<Expected, String> {
        let own = self.folder.join("expected.json");
        match (std::fs::read_to_string(&own), known) {
            (Ok(text), _) => {
                serde_json::from_str(&text).map_err(|error| format!("{}: {error}", own.display()))
            }
            (Err(error), _) if own.exists() => Err(format!("{}: {error}", own.display())),
            (_, Some(known)) => Ok(known.clone()),
            _ => Err("nothing says what is expected".to_owned()),
        }
    }

    /// Returns the problems and the measurements.
    fn judged(&self, expected: &Expected) -> Result<(Vec<String>, String), String> {
        let script = self.folder.join("run.sh").canonicalize().map_err(|error| format!("run.sh: {error}"))?;
        let work = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut command = Command::new("bash");
        command
            .arg(script)
            .env("CLIPWAY", self.program)
            .env("EMOJI", root().join("examples/emoji-clip"))
            .env("PYTHON", self.python)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("NO_COLOR", "1")
            .env("TMPDIR", work.path());
        let watched = Watched { program: self.program, folder: work.path(), limit: expected.limit() };
        let seen = watched.run(command)?;
        let name = self.folder.file_name().unwrap_or_default();
        // `run.sh` works in a folder named after the case, inside a temporary one.
        let made = std::fs::read_dir(work.path()).map_err(|error| error.to_string())?;
        let place = made.flatten().map(|entry| entry.path().join(name)).find(|path| path.is_dir());
        let place = place.ok_or("`run.sh` made no folder: its input could not be made")?;
        let measured = format!(
            "{:.1} s, {} MB, {} MB of files",
            seen.time.as_secs_f64(),
            seen.memory / 1_000_000,
            seen.files / 1_000_000
        );
        Ok((expected.problems(&seen, &place), measured))
    }
}
