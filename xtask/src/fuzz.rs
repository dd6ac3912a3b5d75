//! Runs the libFuzzer targets in `fuzz/`, each for some time, and counts processor time and executions.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use rayon::prelude::*;

use crate::demo::root;
use crate::outcome::{Outcome, tell};

/// Flags that make the compiler count edges and trace comparisons for libFuzzer. They apply to every crate but not to
/// build scripts, since a target is named.
const COVERAGE: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Cforce-frame-pointers=yes",
    "--cfg=fuzzing",
];

/// Maximum input length in bytes: enough for every reader's structures, short enough for many executions.
const LONGEST_INPUT: usize = 8192;

/// Maximum wall-clock time for one input, in seconds: generous, since the machine may be loaded. The targets themselves
/// limit processor time per input (`fuzz/src/memory.rs`).
const LONGEST_TRY: usize = 60;

/// Processor time not worth another round: each reads all inputs again.
const SHORTEST_ROUND: Duration = Duration::from_secs(5);

/// Maximum resident memory of a fuzzer with its inputs, in MiB. The targets limit their readers to far less.
const MEMORY: usize = 1024;

/// Maximum lines of a fuzzer's own output shown for a finding.
const SHOWN_LINES: usize = 30;

/// Additional start folders for the targets, below the corpus's `good` and `bad`.
const CORPUS: [(&str, &[&str]); 12] = [
    ("safetensors", &["safetensors"]),
    ("sharded", &["sharded"]),
    ("npy", &["npy"]),
    ("npz", &["npz"]),
    ("onnx", &["onnx"]),
    ("pytorch_zip", &["pt", "zip", "wrong-file"]),
    ("pytorch_legacy", &["pt", "legacy", "wrong-file"]),
    ("pytorch_tar", &["legacy"]),
    ("torchscript", &["torchscript", "pt"]),
    ("json", &["config", "tokenizer"]),
    ("config", &["config"]),
    ("tokenizer_json", &["tokenizer"]),
];

/// Image targets, which start from all images of the corpus.
const IMAGES: [&str; 8] = ["jpeg", "png", "gif", "webp", "heic", "avif", "bmp", "tiff"];

/// What to run, and for how long.
#[derive(Args)]
pub struct Options {
    /// Targets; by default all in fuzz/targets
    targets: Vec<String>,
    /// Seconds of processor time per target; on a loaded machine it runs until it had them
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Executions per target, from a fixed start and without the inputs of earlier runs, so that two runs of one build
    /// do the same; `--seconds` still limits the time, by the clock
    #[arg(long)]
    runs: Option<u64>,
    /// Number of targets that run at the same time; by default one per processor
    #[arg(long)]
    jobs: Option<usize>,
    /// Folder of the corpus, whose files are used as additional seeds
    #[arg(long, value_name = "FOLDER")]
    corpus: Option<PathBuf>,
    /// File to append a line of JSON to for each target: processor time, executions, findings
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Build less optimized targets, which is faster
    #[arg(long)]
    quick: bool,
    /// Run the previous build without building
    #[arg(long)]
    built: bool,
    /// Build with the address sanitizer, which detects memory errors; needs RUSTC_BOOTSTRAP=1
    #[arg(long)]
    address: bool,
}

/// The locations of everything the fuzzers use.
struct Places {
    root: PathBuf,
    work: PathBuf,
    binaries: PathBuf,
    corpus: Option<PathBuf>,
}

/// The result of a target's run.
struct Run {
    passed: bool,
    executions: u64,
    processor: Duration,
    said: String,
}

/// Builds the targets and runs them.
pub fn run(options: &Options) -> Result<bool, String> {
    let root = root();
    let known = targets(&root)?;
    if let Some(unknown) = options.targets.iter().find(|target| !known.contains(target)) {
        return Err(format!("`{unknown}` is no target; there are {}", known.join(", ")));
    }
    let chosen = if options.targets.is_empty() { known } else { options.targets.clone() };
    let absolute =
        |path: &PathBuf| fs::canonicalize(path).map_err(|error| format!("`{}`: {error}", path.display()));
    let corpus = options.corpus.as_ref().map(absolute).transpose()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let work = target.join(match (options.address, options.quick) {
        (true, _) => "fuzz-address",
        (false, true) => "fuzz-quick",
        (false, false) => "fuzz",
    });
    let binaries = work.join(host()?).join("release");
    if !options.built {
        build(&root, &work, &chosen, options)?;
    }
    let places = Places { root, work, binaries, corpus };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.jobs.unwrap_or(0)).build();
    let pool = pool.map_err(|error| error.to_string())?;
    let outcomes: Vec<Result<Outcome, String>> = pool.install(|| {
        // In order from the front, instead of splitting the list in halves.
        let each = chosen.par_iter().with_max_len(1);
        each.map(|target| {
            let run = run_target(&places, target, options)?;
            log(options.log.as_deref(), target, &run)?;
            Ok(outcome(target, run))
        })
        .collect()
    });
    Ok(tell(outcomes.into_iter().collect::<Result<Vec<_>, _>>()?))
}

fn outcome(target: &str, run: Run) -> Outcome {
    let processor = run.processor.as_secs_f64();
    let mut detail = format!("{} executions in {processor:.1} s of processor time", run.executions);
    if !run.passed {
        let _ = write!(detail, "\n{}", run.said);
    }
    Outcome { name: target.to_owned(), passed: run.passed, detail }
}

/// Lists the names of all targets.
fn targets(root: &Path) -> Result<Vec<String>, String> {
    let folder = root.join("fuzz/targets");
    let entries = folder.read_dir().map_err(|error| format!("`{}`: {error}", folder.display()))?;
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(str::to_owned)).collect();
    names.sort();
    Ok(names)
}

/// Builds the targets, instrumented.
fn build(root: &Path, work: &Path, targets: &[String], options: &Options) -> Result<(), String> {
    let host = host()?;
    let mut flags = COVERAGE.to_vec();
    if options.address {
        flags.push("-Zsanitizer=address");
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--release", "--target", &host, "--manifest-path"]);
    command.arg(root.join("fuzz/Cargo.toml")).arg("--target-dir").arg(work);
    for target in targets {
        command.args(["--bin", target]);
    }
    // Settings for the workspace's own builds must not reach this one.
    command.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    command.env_remove("CARGO_PROFILE_RELEASE_LTO").env_remove("CARGO_PROFILE_RELEASE_CODEGEN_UNITS");
    if options.quick {
        command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1").env("CARGO_PROFILE_RELEASE_DEBUG", "false");
    }
    let status = command.status().map_err(|error| format!("cargo: {error}"))?;
    if !status.success() {
        return Err("the fuzz targets do not build".to_owned());
    }
    Ok(())
}

/// Returns the compiler's name for this system.
pub fn host() -> Result<String, String> {
    let output = Command::new("rustc").arg("-vV").output().map_err(|error| format!("rustc: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc does not say its host".to_owned())
}

/// Runs one target until it had its processor time or failed. With a number of executions it runs once.
fn run_target(places: &Places, target: &str, options: &Options) -> Result<Run, String> {
    let wanted = Duration::from_secs(options.seconds);
    let mut whole = run_once(places, target, options, wanted)?;
    while options.runs.is_none() && whole.passed && whole.processor + SHORTEST_ROUND < wanted {
        let next = run_once(places, target, options, wanted - whole.processor)?;
        whole = Run {
            executions: whole.executions + next.executions,
            processor: whole.processor + next.processor,
            ..next
        };
    }
    Ok(whole)
}

/// Runs one target for some time by the clock; its output goes to a separate file.
fn run_once(places: &Places, target: &str, options: &Options, time: Duration) -> Result<Run, String> {
    let failed = |error: std::io::Error| format!("{target}: {error}");
    let folder = |kind: &str| {
        let path = places.work.join(kind).join(target);
        fs::create_dir_all(&path).map_err(failed).map(|()| path)
    };
    let (inputs, findings, talk) = (folder("inputs")?, folder("findings")?, folder("talk")?);
    let (times, words) = (talk.join("times"), talk.join("words"));
    let mut command = Command::new("sh");
    // The shell reports the fuzzer's processor time after it ends.
    command.args(["-c", "times=$1; shift; \"$@\"; status=$?; times >\"$times\"; exit $status", "sh"]);
    command.arg(&times).arg(places.binaries.join(target));
    if let Some(runs) = options.runs {
        fs::remove_dir_all(&inputs).and_then(|()| fs::create_dir(&inputs)).map_err(failed)?;
        command.arg(format!("-runs={runs}")).arg("-seed=1");
    }
    command.arg(format!("-max_total_time={}", time.as_secs())).arg(format!("-max_len={LONGEST_INPUT}"));
    command.arg(format!("-timeout={LONGEST_TRY}")).arg(format!("-rss_limit_mb={MEMORY}"));
    command.arg("-print_final_stats=1").arg(format!("-artifact_prefix={}/", findings.display()));
    command.arg(&inputs).args(start_folders(places, target)).current_dir(&talk);
    let out = fs::File::create(&words).map_err(failed)?;
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(out).status().map_err(failed)?;
    let repeats = repeats(places, target, &findings).map_err(failed)?;
    let said = String::from_utf8_lossy(&fs::read(&words).map_err(failed)?).into_owned();
    let executions = executions(&said);
    Ok(Run {
        passed: repeats.all_pass(status.success()) && executions > 0,
        executions,
        processor: children_time(&fs::read_to_string(&times).unwrap_or_default()),
        said: last_lines(&said),
    })
}

/// The results of retrying findings.
#[derive(Default)]
struct Repeats {
    tried: usize,
    failed: usize,
}

impl Repeats {
    /// Returns whether nothing is left open. A fuzzer that failed without a finding is itself a failure.
    fn all_pass(&self, fuzzer_passed: bool) -> bool {
        self.failed == 0 && (fuzzer_passed || self.tried > 0)
    }
}

/// Returns the number of executions counted by a fuzzer.
fn executions(said: &str) -> u64 {
    let count = |line: &str| line.strip_prefix("stat::number_of_executed_units:")?.trim().parse().ok();
    said.lines().find_map(count).unwrap_or(0)
}

/// Retries each finding alone: on a loaded machine an input may run out of time by chance. Removes those that pass.
fn repeats(places: &Places, target: &str, findings: &Path) -> std::io::Result<Repeats> {
    let mut repeats = Repeats::default();
    for entry in fs::read_dir(findings)? {
        let path = entry?.path();
        let mut command = Command::new(places.binaries.join(target));
        command.arg(format!("-timeout={LONGEST_TRY}")).arg(format!("-rss_limit_mb={MEMORY}")).arg(&path);
        command.current_dir(findings).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        repeats.tried += 1;
        if command.status()?.success() {
            fs::remove_file(&path)?;
        } else {
            repeats.failed += 1;
        }
    }
    Ok(repeats)
}

/// Returns the folders of inputs that a target starts from but does not write to.
fn start_folders(places: &Places, target: &str) -> Vec<PathBuf> {
    let mut folders =
        vec![places.root.join("fuzz/seeds").join(target), places.root.join("fuzz/findings").join(target)];
    if let Some(corpus) = &places.corpus {
        let listed = CORPUS.iter().filter(|(name, _)| *name == target).flat_map(|(_, kinds)| kinds.iter());
        let kinds = listed.copied().chain(IMAGES.contains(&target).then_some("image"));
        folders.extend(kinds.flat_map(|kind| ["good", "bad"].map(|side| corpus.join(side).join(kind))));
    }
    folders.retain(|folder| folder.is_dir());
    folders
}

/// Parses user and system time of a shell's children from the second line of its `times`: `0m1.50s 0m0.25s`.
fn children_time(times: &str) -> Duration {
    let one = |text: &str| {
        let (minutes, seconds) = text.trim_end_matches('s').split_once('m')?;
        Some(60.0 * minutes.parse::<f64>().ok()? + seconds.parse::<f64>().ok()?)
    };
    let line = times.lines().nth(1).unwrap_or_default();
    Duration::from_secs_f64(line.split_whitespace().filter_map(one).sum())
}

fn last_lines(said: &str) -> String {
    let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with('#')).collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

/// Adds a line to the log.
fn log(file: Option<&Path>, target: &str, run: &Run) -> Result<(), String> {
    let Some(file) = file else { return Ok(()) };
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let line = serde_json::json!({
        "time": time,
        "target": target,
        "executions": run.executions,
        "processor_seconds": run.processor.as_secs_f64(),
        "passed": run.passed,
    });
    let write = || -> std::io::Result<()> {
        use std::io::Write;
        let mut out = fs::File::options().create(true).append(true).open(file)?;
        writeln!(out, "{line}")
    };
    write().map_err(|error| format!("`{}`: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_that_of_the_children() {
        assert_eq!(children_time("0m0.01s 0m0.02s\n1m2.50s 0m0.25s\n"), Duration::from_secs_f64(62.75));
        assert_eq!(children_time(""), Duration::ZERO);
    }

    #[test]
    fn a_fuzzer_that_fails_without_a_finding_fails() {
        let repeats = |tried, failed| Repeats { tried, failed };
        assert!(repeats(0, 0).all_pass(true));
        assert!(!repeats(0, 0).all_pass(false));
        assert!(repeats(1, 0).all_pass(false), "an input that was slow by chance");
        assert!(!repeats(2, 1).all_pass(true), "a finding of an earlier run is still one");
        assert_eq!(executions("#2 INITED\nstat::number_of_executed_units: 4000\n"), 4000);
        assert_eq!(executions("error while loading"), 0);
    }

    #[test]
    fn every_target_is_built_and_has_seeds() {
        let root = root();
        let manifest = fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap();
        for target in targets(&root).unwrap() {
            assert!(manifest.contains(&format!("name = \"{target}\"")), "{target} is not in the manifest");
            assert!(root.join("fuzz/seeds").join(&target).read_dir().unwrap().count() > 0, "{target}");
        }
    }
}
