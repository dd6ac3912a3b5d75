//! Measures which lines of the readers are reached by tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::demo::root;
use crate::fuzz::host;
use crate::outcome::{Outcome, tell};

/// Minimum line coverage, in percent.
const LEAST: f64 = 90.0;

/// What to measure: a name, and the path prefixes of its files.
const PARTS: [(&str, &[&str]); 3] = [
    ("clipway-formats", &["crates/clipway-formats/src/"]),
    (
        "clipway-model, reading",
        &[
            "crates/clipway-model/src/artifact.rs",
            "crates/clipway-model/src/checkpoint/",
            "crates/clipway-model/src/config/",
            "crates/clipway-model/src/identify/",
            "crates/clipway-model/src/inspect/",
            "crates/clipway-model/src/layout/",
            "crates/clipway-model/src/plan/",
            "crates/clipway-model/src/state_dict/",
        ],
    ),
    ("clipway-model, writing", &["crates/clipway-model/src/export/", "crates/clipway-model/src/output/"]),
];

#[derive(Deserialize)]
struct Report {
    data: Vec<Data>,
}

#[derive(Deserialize)]
struct Data {
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    filename: PathBuf,
    summary: Summary,
}

#[derive(Deserialize)]
struct Summary {
    lines: Lines,
}

#[derive(Deserialize)]
struct Lines {
    count: usize,
    covered: usize,
}

/// Runs the tests of the readers' crates with instrumentation, and counts the lines they reach. The tools come with
/// `rustup component add llvm-tools`.
pub fn run() -> Result<bool, String> {
    let root = root();
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let folder = folder.join("coverage");
    let profiles = folder.join("profiles");
    let _ = std::fs::remove_dir_all(&profiles);
    let binaries = test(&root, &folder, &profiles)?;
    let tools = tools()?;
    let merged = folder.join("merged.profdata");
    let mut merge = Command::new(tools.join("llvm-profdata"));
    // A process killed by a test leaves truncated counters; these are ignored.
    merge.args(["merge", "--sparse", "--failure-mode=all", "-o"]).arg(&merged).arg(&profiles);
    output(&mut merge)?;
    let mut export = Command::new(tools.join("llvm-cov"));
    export.args(["export", "--summary-only", "--instr-profile"]).arg(&merged);
    for (index, binary) in binaries.iter().enumerate() {
        if index > 0 {
            export.arg("--object");
        }
        export.arg(binary);
    }
    let report: Report = serde_json::from_slice(&output(&mut export)?).map_err(|error| error.to_string())?;
    let files: Vec<File> = report.data.into_iter().flat_map(|data| data.files).collect();
    let mut outcomes = Vec::new();
    for (name, starts) in PARTS {
        let is_part = |file: &&File| {
            let path = file.filename.strip_prefix(&root).unwrap_or(&file.filename);
            starts.iter().any(|start| path.to_string_lossy().starts_with(start))
                && !path.ends_with("tests.rs")
        };
        let mut part: Vec<&File> = files.iter().filter(is_part).collect();
        part.sort_by_key(|file| std::cmp::Reverse(file.summary.lines.count - file.summary.lines.covered));
        let count: usize = part.iter().map(|file| file.summary.lines.count).sum();
        let covered: usize = part.iter().map(|file| file.summary.lines.covered).sum();
        let share = 100.0 * covered as f64 / count.max(1) as f64;
        let mut detail = format!("{share:.1} % of {count} lines");
        for file in part.iter().take(8) {
            let Lines { count, covered } = file.summary.lines;
            let path = file.filename.strip_prefix(&root).unwrap_or(&file.filename);
            detail.push_str(&format!("\n  {} of {count} not reached: {}", count - covered, path.display()));
        }
        outcomes.push(Outcome { name: name.to_owned(), passed: share >= LEAST, detail });
    }
    Ok(tell(outcomes))
}

/// Runs the tests; returns the binaries.
fn test(root: &Path, folder: &Path, profiles: &Path) -> Result<Vec<PathBuf>, String> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
        #[serde(default)]
        profile: Profile,
    }
    #[derive(Default, Deserialize)]
    struct Profile {
        test: bool,
    }
    let cargo = || {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(root).args([
            "test",
            "--quiet",
            "-p",
            "clipway-formats",
            "-p",
            "clipway-model",
            "--tests",
        ]);
        command.arg("--target-dir").arg(folder).env("RUSTFLAGS", "-Cinstrument-coverage");
        command.env("LLVM_PROFILE_FILE", profiles.join("%p-%m.profraw"));
        command
    };
    let built = output(cargo().args(["--no-run", "--message-format", "json"]))?;
    let messages = String::from_utf8_lossy(&built).into_owned();
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let binaries = messages.filter(|message| message.profile.test).filter_map(|message| message.executable);
    let binaries: Vec<PathBuf> = binaries.collect();
    output(&mut cargo())?;
    Ok(binaries)
}

/// Returns the folder of the tools that match the compiler.
fn tools() -> Result<PathBuf, String> {
    let root = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let root = String::from_utf8_lossy(&root).into_owned();
    Ok(Path::new(root.trim()).join("lib/rustlib").join(host()?).join("bin"))
}

fn output(command: &mut Command) -> Result<Vec<u8>, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}
