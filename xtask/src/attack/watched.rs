//! A script that is watched: its time, the memory of the program's runs below it, and its output.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::corpus::usage_of;

/// Time between two looks at the processes.
const GLANCE: Duration = Duration::from_millis(20);

/// What was seen of a script.
#[derive(Debug)]
pub struct Seen {
    /// stdout and stderr.
    pub output: String,
    /// From its start to its end.
    pub time: Duration,
    /// Most memory of one run of the program, in bytes; of a system that does not tell, 0.
    pub memory: u64,
    /// Whether it was stopped at the limit.
    pub stopped: bool,
}

/// Runs a script to its end, or to the limit.
pub fn watch(mut command: Command, program: &Path, limit: Duration) -> Result<Seen, String> {
    let (mut reader, writer) = std::io::pipe().map_err(|error| error.to_string())?;
    let copy = writer.try_clone().map_err(|error| error.to_string())?;
    command.stdin(Stdio::null()).stdout(writer).stderr(copy);
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let start = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("bash: {error}"))?;
    // The remaining writing ends belong to the script.
    drop(command);
    let output = thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = reader.read_to_end(&mut bytes);
        read.map(|_| String::from_utf8_lossy(&bytes).into_owned())
    });
    let mut memory = 0;
    let mut stopped = false;
    loop {
        if child.try_wait().map_err(|error| error.to_string())?.is_some() {
            break;
        }
        memory = memory.max(memory_below(child.id(), program));
        if start.elapsed() > limit {
            stopped = true;
            stop(&mut child)?;
            break;
        }
        thread::sleep(GLANCE);
    }
    let time = start.elapsed();
    let output =
        output.join().map_err(|_| "its output cannot be read")?.map_err(|error| error.to_string())?;
    // What time measured is as exact as the system tells it.
    let told = output.lines().filter_map(|line| {
        let (_, rest) = line.split_once("=> exit ")?;
        rest.strip_suffix(" KB")?.rsplit_once(' ')?.1.parse::<u64>().ok()
    });
    let memory = told.map(|kibibytes| kibibytes << 10).fold(memory, u64::max);
    Ok(Seen { output, time, memory, stopped })
}

/// Ends a script and everything it started: its group is its own.
fn stop(child: &mut Child) -> Result<(), String> {
    let group = format!("-{}", child.id());
    let killed = Command::new("kill").args(["-KILL", "--", &group]).status();
    killed.map_err(|error| error.to_string())?;
    child.wait().map(|_| ()).map_err(|error| error.to_string())
}

/// The most memory that one run of the program below a process has taken so far.
fn memory_below(process: u32, program: &Path) -> u64 {
    let mut parents: BTreeMap<u32, u32> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent =
            stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(1)?.parse().ok());
        parents.extend(parent.map(|parent| (id, parent)));
    }
    let is_below = |mut id: u32| {
        while let Some(&parent) = parents.get(&id) {
            if parent == process {
                return true;
            }
            id = parent;
        }
        false
    };
    let runs = parents
        .keys()
        .copied()
        .filter(|&id| is_below(id))
        .filter(|id| std::fs::read_link(format!("/proc/{id}/exe")).is_ok_and(|exe| exe == program));
    runs.filter_map(|id| usage_of(id).memory).max().unwrap_or(0)
}
