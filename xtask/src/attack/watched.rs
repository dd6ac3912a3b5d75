//! Runs a process under observation: its time, the memory of the program's runs, the files it creates, and its output.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::corpus::usage_of;

/// Interval for checking on the processes.
const GLANCE: Duration = Duration::from_millis(20);

/// What to observe.
pub struct Watched<'a> {
    /// The program whose runs are measured.
    pub program: &'a Path,
    /// The folder whose files are measured.
    pub folder: &'a Path,
    /// The time after which the process is stopped.
    pub limit: Duration,
}

/// What was observed of a process.
#[derive(Debug)]
pub struct Seen {
    /// stdout and stderr.
    pub output: String,
    /// Its exit status.
    pub status: ExitStatus,
    /// Time from start to end.
    pub time: Duration,
    /// Highest processor time of one run of the program; 0 if the system does not report it.
    pub processor: Duration,
    /// Highest memory use of one run of the program, in bytes; 0 if the system does not report it.
    pub memory: u64,
    /// Highest total size of the folder's files at any time, in bytes.
    pub files: u64,
    /// Whether it was stopped at the limit.
    pub stopped: bool,
}

impl Watched<'_> {
    /// Runs a process until it ends or reaches the limit.
    pub fn run(&self, mut command: Command) -> Result<Seen, String> {
        let (mut reader, writer) = std::io::pipe().map_err(|error| error.to_string())?;
        let copy = writer.try_clone().map_err(|error| error.to_string())?;
        command.stdin(Stdio::null()).stdout(writer).stderr(copy);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let start = Instant::now();
        let mut child = command.spawn().map_err(|error| format!("cannot start a process: {error}"))?;
        // The remaining write ends belong to the process.
        drop(command);
        let output = thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = reader.read_to_end(&mut bytes);
            read.map(|_| String::from_utf8_lossy(&bytes).into_owned())
        });
        let (mut memory, mut processor, mut files) = (0, Duration::ZERO, 0);
        let (status, stopped) = loop {
            if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
                break (status, false);
            }
            let usage = self.usage(child.id());
            (memory, processor) = (memory.max(usage.0), processor.max(usage.1));
            files = files.max(bytes_below(self.folder));
            if start.elapsed() > self.limit {
                break (stop(&mut child)?, true);
            }
            thread::sleep(GLANCE);
        };
        let time = start.elapsed();
        let files = files.max(bytes_below(self.folder));
        let output =
            output.join().map_err(|_| "its output cannot be read")?.map_err(|error| error.to_string())?;
        // The script's own measurement with `time` is as exact as the system provides.
        let told = output.lines().filter_map(|line| {
            let (_, rest) = line.split_once("=> exit ")?;
            rest.strip_suffix(" KB")?.rsplit_once(' ')?.1.parse::<u64>().ok()
        });
        let memory = told.map(|kibibytes| kibibytes << 10).fold(memory, u64::max);
        Ok(Seen { output, status, time, processor, memory, files, stopped })
    }

    /// Returns the highest memory and processor time so far of any run of the program, in `process` or below it.
    fn usage(&self, process: u32) -> (u64, Duration) {
        let mut parents: BTreeMap<u32, u32> = BTreeMap::new();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let parent = stat
                .rsplit_once(')')
                .and_then(|(_, rest)| rest.split_ascii_whitespace().nth(1)?.parse().ok());
            parents.extend(parent.map(|parent| (id, parent)));
        }
        let is_below = |mut id: u32| {
            while id != process {
                let Some(&parent) = parents.get(&id) else { return false };
                id = parent;
            }
            true
        };
        let runs =
            parents.keys().copied().filter(|&id| is_below(id)).filter(|id| {
                std::fs::read_link(format!("/proc/{id}/exe")).is_ok_and(|exe| exe == self.program)
            });
        runs.map(usage_of).fold((0, Duration::ZERO), |(memory, time), usage| {
            (memory.max(usage.memory.unwrap_or(0)), time.max(usage.time.unwrap_or_default()))
        })
    }
}

/// Returns the disk usage of all files below a folder, as far as visible while they come and go.
fn bytes_below(folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() { bytes_below(&entry.path()) } else { on_disk(&metadata) };
    }
    bytes
}

/// Returns the disk usage of a file; a sparse one takes less than its length.
#[cfg(unix)]
fn on_disk(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(metadata) * 512
}

#[cfg(not(unix))]
fn on_disk(metadata: &std::fs::Metadata) -> u64 {
    metadata.len()
}

/// Kills a process and everything it started, which form one process group.
fn stop(child: &mut Child) -> Result<ExitStatus, String> {
    let group = format!("-{}", child.id());
    let killed = Command::new("kill").args(["-KILL", "--", &group]).status();
    killed.map_err(|error| error.to_string())?;
    child.wait().map_err(|error| error.to_string())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn files_time_and_the_end_of_a_process_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let shell = std::fs::canonicalize("/bin/sh").unwrap();
        let run = |script: &str, limit: u64| {
            let watched =
                Watched { program: &shell, folder: folder.path(), limit: Duration::from_millis(limit) };
            let mut command = Command::new(&shell);
            command.args(["-c", script]).current_dir(folder.path());
            watched.run(command).unwrap()
        };
        let seen = run("head -c 3000000 /dev/zero >f; sync f; sleep 0.2; rm f; echo said; exit 3", 60_000);
        assert_eq!((seen.output.as_str(), seen.status.code(), seen.stopped), ("said\n", Some(3), false));
        assert!((3_000_000..4_000_000).contains(&seen.files), "{}", seen.files);
        let seen = run("while :; do :; done", 1000);
        assert!(seen.stopped && seen.status.code().is_none());
        assert!(seen.processor > Duration::ZERO && seen.memory > 0, "{seen:?}");
    }
}
