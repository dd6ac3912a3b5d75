//! Exports that run out of something: each succeeds or ends with a code, and the target is whole.

use std::fs;
use std::path::Path;
use std::process::Command;

use clap::ValueEnum;

use super::bench::{Bench, finish, said};
use super::disk::Disk;
use crate::made::shown;
use crate::random::Random;

/// The scarce resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scarce {
    /// Disk space: a small file system in memory, if one can be mounted
    Disk,
    /// File size (`ulimit -f`)
    Size,
    /// Open files (`ulimit -n`)
    Descriptors,
    /// Address space (`ulimit -v`)
    Memory,
    /// Space for printed output (`/dev/full`)
    Output,
}

/// The results of the runs.
#[derive(Default)]
struct Count {
    done: usize,
    refused: usize,
    aborted: usize,
    unstarted: usize,
    leftovers: usize,
}

/// Runs exports that are short of `what`, by amounts from nothing to enough.
pub fn run(bench: &Bench, what: Scarce, runs: usize, seed: u64) -> Result<String, String> {
    let mut random = Random::new(seed);
    let mut count = Count::default();
    let disk = Disk::new(&bench.path("disk"))?;
    for number in 0..runs {
        let target = if what == Scarce::Disk { disk.path.join("out") } else { bench.out() };
        let (command, amount) = match what {
            Scarce::Disk => {
                // The old artifact fits, plus up to one and a half of the new one.
                let Some(bytes) = fill(&disk, bench, &target, &mut random)? else {
                    return Ok("not run: no file system may be mounted here; see scarce-size".to_owned());
                };
                (bench.export("b", &target, &["--force"]), format!("{bytes} bytes"))
            }
            Scarce::Size => limited(bench, 'f', random.below(16_000)),
            Scarce::Descriptors => limited(bench, 'n', 3 + random.below(30)),
            Scarce::Memory => limited(bench, 'v', 4000 + random.below(400_000)),
            Scarce::Output => {
                let script = if number % 2 == 0 { "\"$@\" --json >/dev/full" } else { "\"$@\" >/dev/full" };
                (shell(script, &bench.replace(0)), "/dev/full".to_owned())
            }
        };
        let context = |why: String| format!("{what:?}, run {number} with {amount}: {why}");
        count.add(bench, command, &target, what).map_err(context)?;
        if what != Scarce::Disk {
            finish(bench.spawn(bench.replace(1))?)?;
        }
        disk.empty();
    }
    Ok(count.told(runs))
}

impl Count {
    /// Runs an export of one source over the other's artifact, and judges it.
    fn add(&mut self, bench: &Bench, command: Command, target: &Path, what: Scarce) -> Result<(), String> {
        let old = bench.placed(target)?;
        let output = bench.spawn(command)?.wait_with_output().map_err(|error| error.to_string())?;
        let text = said(&output);
        let is_new = bench.placed(target)? != old;
        let leftovers = bench.leftovers(target)?;
        let has_code = text.lines().any(|line| line.starts_with("error: ") && line.ends_with(']'));
        match output.status.code() {
            Some(0) if is_new => self.done += 1,
            Some(0) => return Err("done, and the old artifact is in place".to_owned()),
            // The message says what is in place even though the report is lost.
            Some(1 | 2) if has_code && is_new && text.contains("is complete") => self.refused += 1,
            Some(1 | 2) if has_code && !is_new => self.refused += 1,
            // The system could not even start it.
            Some(126 | 127) if !is_new => self.unstarted += 1,
            None if what == Scarce::Memory && !is_new => self.aborted += 1,
            _ => return Err(format!("ended with {}: {text}", output.status)),
        }
        if !leftovers.is_empty() && output.status.code().is_some() {
            return Err(format!("{leftovers:?} stay after {}: {text}", output.status));
        }
        self.leftovers += usize::from(!leftovers.is_empty());
        bench.check_next_run(target)
    }

    fn told(&self, runs: usize) -> String {
        let Count { done, refused, aborted, unstarted, leftovers } = self;
        let mut told = format!("{runs} runs: {done} done, {refused} ended with a code");
        if *aborted > 0 {
            told += &format!(", {aborted} were ended by a failed allocation");
        }
        if *unstarted > 0 {
            told += &format!(", {unstarted} could not be started");
        }
        format!("{told}; the target whole by hash; {leftovers} left something, which the next run removed")
    }
}

/// Builds the export that replaces `b`'s artifact, under a shell limit.
fn limited(bench: &Bench, limit: char, amount: usize) -> (Command, String) {
    let script = format!("ulimit -{limit} {amount} && exec \"$@\"");
    (shell(&script, &bench.replace(0)), format!("ulimit -{limit} {amount}"))
}

/// Builds a shell command that runs another command through a script.
fn shell(script: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(command.get_program()).args(command.get_args());
    shell
}

/// Mounts a file system that holds `a`'s artifact with some space to spare, and returns its size; `None` if that is not
/// permitted.
fn fill(disk: &Disk, bench: &Bench, target: &Path, random: &mut Random) -> Result<Option<usize>, String> {
    let source = bench.out();
    let names = fs::read_dir(&source).map_err(|error| shown(&source, error))?;
    let sizes = names.map(|entry| Ok(entry?.metadata()?.len() as usize));
    let sizes: Vec<usize> = sizes.collect::<std::io::Result<_>>().map_err(|error| shown(&source, error))?;
    let used: usize = sizes.iter().map(|size| size.next_multiple_of(4096)).sum();
    let size = used + (1 << 16) + random.below(used * 3 / 2);
    if !disk.mount(&format!("size={size},mode=755")) {
        return Ok(None);
    }
    finish(bench.spawn(bench.export("a", target, &[]))?)?;
    Ok(Some(size))
}
