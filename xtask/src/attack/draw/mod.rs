//! Attacks drawn from a seed: variants of the known ones. Each is one run of the program on its own input, judged by
//! what its generator knows.

mod archive;
mod case;
mod changes;
mod growth;
mod links;
mod locks;
mod names;
mod tiles;
mod views;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use regex::Regex;

use super::watched::{Seen, Watched};
use crate::made::shown;
use crate::outcome::Outcome;
use crate::random::Random;
use case::{Drawn, OUT, SECRET, Stage, Verdict};

/// Families of drawn attacks. Case `n` belongs to family `n` modulo their number.
const FAMILIES: [(&str, Family); 7] = [
    ("views", views::draw),
    ("tiles", tiles::draw),
    ("growth", growth::draw),
    ("links", links::draw),
    ("changes", changes::draw),
    ("locks", locks::draw),
    ("names", names::draw),
];

type Family = fn(&mut Random, &Stage<'_>) -> Result<Drawn, String>;

/// Maximum wait for a run, even on a loaded machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Factor by which an unoptimized run may take longer.
const UNOPTIMIZED: u32 = if cfg!(debug_assertions) { 15 } else { 1 };

/// Draws `count` cases starting at `seed`, runs them and judges them.
pub fn run<'a>(
    program: &'a Path,
    emoji: &Path,
    seed: u64,
    count: u64,
    only: Option<&'a Regex>,
) -> Result<impl Iterator<Item = Outcome> + use<'a>, String> {
    let work = tempfile::tempdir().map_err(|error| error.to_string())?;
    let exported = work.path().join("exported");
    let mut export = Command::new(program);
    export.arg("export").arg(emoji.join("emoji-clip.pt")).arg("--model").arg(emoji.join("emoji-clip.json"));
    let output = export.arg("--out").arg(&exported).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("the demo model: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let names = (seed..seed.saturating_add(count)).map(|number| {
        let (name, family) = FAMILIES[(number % FAMILIES.len() as u64) as usize];
        (number, format!("{name}-{number}"), family)
    });
    let wanted = names.filter(move |(_, name, _)| only.is_none_or(|only| only.is_match(name)));
    Ok(wanted.map(move |(number, name, family)| {
        let folder = work.path().join("case");
        let judged = fs::create_dir(&folder).map_err(|error| error.to_string()).and_then(|()| {
            let stage = Stage { program, folder: &folder, exported: &exported };
            let drawn = family(&mut Random::new(number), &stage)?;
            judge(drawn, program, &folder)
        });
        let removed = fs::remove_dir_all(&folder).map_err(|error| error.to_string());
        let (passed, detail) = match judged.and_then(|judged| removed.map(|()| judged)) {
            Ok(judged) => judged,
            Err(why) => (false, why),
        };
        Outcome { name, passed, detail }
    }))
}

/// Runs a case; returns whether it passed, with the measurements or the problems.
fn judge(mut drawn: Drawn, program: &Path, folder: &Path) -> Result<(bool, String), String> {
    let mut command = Command::new(program);
    command.args(&drawn.arguments).arg("--quiet").current_dir(folder).env("NO_COLOR", "1");
    let before = listing(folder)?;
    let beside = drawn.beside.take();
    let ended = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        if let Some(beside) = beside {
            scope.spawn(|| beside(&ended));
        }
        let seen = Watched { program, folder, limit: LIMIT }.run(command);
        ended.store(true, Ordering::Relaxed);
        seen
    })?;
    let made: Vec<String> = listing(folder)?.into_iter().filter(|name| !before.contains(name)).collect();
    let mut problems = problems(&drawn, &seen, &made);
    if let Some(after) = drawn.after.take() {
        problems.extend(after(seen.status.success())?);
    }
    if holds_secret(&folder.join(OUT))? {
        problems.push("its output holds what lies outside".to_owned());
    }
    let first = seen
        .output
        .lines()
        .find(|line| line.contains("error: ") || line.contains("warning: "))
        .unwrap_or("done");
    let detail = format!(
        "{}; {} {}: {:.1} s of processor time, {} MB; {first}",
        drawn.detail,
        drawn.arguments[0],
        seen.status,
        seen.processor.as_secs_f64(),
        seen.memory / 1_000_000,
    );
    match problems.is_empty() {
        true => Ok((true, detail)),
        false => Ok((false, format!("{detail}\n  {}", problems.join("\n  ")))),
    }
}

/// Lists everything wrong with a run.
fn problems(drawn: &Drawn, seen: &Seen, made: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    let code =
        Regex::new(r"(?m)^(?:error|warning): .*\[([a-z-]+)\]").expect("a pattern").captures(&seen.output);
    let code = code.map(|found| found[1].to_owned());
    let status = seen.status.code();
    if seen.stopped {
        problems.push(format!("stopped after {} s", LIMIT.as_secs()));
    }
    let allowed = Duration::from_secs(1) * drawn.seconds * UNOPTIMIZED;
    if seen.processor > allowed {
        problems.push(format!("more than {} s of processor time", allowed.as_secs()));
    }
    if seen.memory > drawn.megabytes * 1_000_000 {
        problems.push(format!("more than {} MB of memory", drawn.megabytes));
    }
    if seen.files > drawn.disk * 1_000_000 {
        problems.push(format!("{} MB of files, more than {}", seen.files / 1_000_000, drawn.disk));
    }
    if seen.output.contains(SECRET) {
        problems.push("it prints what lies outside".to_owned());
    }
    if seen.output.contains("panicked") {
        problems.push("it panics".to_owned());
    }
    match (&drawn.expected, status, &code) {
        (Verdict::Either | Verdict::Done, Some(0), None) => {}
        (Verdict::Either, Some(1 | 2), Some(_)) => {}
        (Verdict::Refused(codes), Some(1 | 2), Some(code)) if codes.contains(&code.as_str()) => {}
        (Verdict::Refused(codes), ..) => problems.push(format!("refused with one of {codes:?} was expected")),
        (Verdict::Done, ..) => problems.push("it is harmless, and is refused".to_owned()),
        (Verdict::Either, ..) => problems.push("neither done nor refused with a code".to_owned()),
    }
    let done = status == Some(0);
    let leftovers: Vec<&String> = made.iter().filter(|name| !done || name.as_str() != OUT).collect();
    if !leftovers.is_empty() {
        problems.push(format!("it leaves {leftovers:?}"));
    }
    problems
}

/// Lists the names in a folder.
fn listing(folder: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(folder).map_err(|error| error.to_string())?;
    let name = |entry: std::io::Result<fs::DirEntry>| entry.map(|entry| entry.file_name());
    let names = entries.map(name).collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    Ok(names.into_iter().map(|name| name.to_string_lossy().into_owned()).collect())
}

/// Copies the files of a folder to a new one.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::create_dir_all(to).map_err(|error| shown(to, error))?;
    for name in listing(from)? {
        let path = from.join(&name);
        fs::copy(&path, to.join(&name)).map_err(|error| shown(&path, error))?;
    }
    Ok(())
}

/// Returns whether a file of an output contains the secret.
fn holds_secret(out: &Path) -> Result<bool, String> {
    if !out.is_dir() {
        return Ok(false);
    }
    for name in listing(out)? {
        let bytes = fs::read(out.join(&name)).map_err(|error| format!("{name}: {error}"))?;
        if bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::case::words;
    use super::*;

    #[test]
    fn what_is_not_as_expected_is_a_problem() {
        let check = |expected: Verdict, status: i32, output: &str, made: &[&str], problem: Option<&str>| {
            let drawn = Drawn {
                arguments: words("export f"),
                expected,
                seconds: 1,
                megabytes: 1,
                disk: 1,
                ..Drawn::default()
            };
            let seen = Seen {
                output: output.to_owned(),
                status: ExitStatus::from_raw(status),
                time: Duration::ZERO,
                processor: Duration::ZERO,
                memory: 0,
                files: 0,
                stopped: false,
            };
            let made: Vec<String> = made.iter().map(|&name| name.to_owned()).collect();
            let found = problems(&drawn, &seen, &made);
            assert_eq!(found.is_empty(), problem.is_none(), "{found:?}");
            assert!(found.iter().zip(problem).all(|(found, problem)| found.contains(problem)), "{found:?}");
        };
        let refused = "error: `f` has 9 bytes [too-large]\n";
        check(Verdict::Done, 0, "", &["o"], None);
        check(Verdict::Done, 1 << 8, refused, &[], Some("harmless"));
        check(Verdict::Either, 1 << 8, refused, &[], None);
        check(Verdict::Either, 1 << 8, "error: no code\n", &[], Some("neither"));
        check(Verdict::Either, 6, "", &[], Some("neither"));
        check(Verdict::Either, 1 << 8, refused, &[".o.tmp"], Some("leaves"));
        check(Verdict::Either, 1 << 8, refused, &["o"], Some("leaves"));
        check(Verdict::Refused(&["too-large"]), 1 << 8, refused, &[], None);
        check(Verdict::Refused(&["io"]), 1 << 8, refused, &[], Some("refused with one of"));
        check(Verdict::Refused(&["io"]), 0, "", &[], Some("refused with one of"));
        check(Verdict::Either, 0, "TOPSECRET", &[], Some("prints what lies outside"));
    }
}
