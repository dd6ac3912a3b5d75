//! Runs one case in its own process, so that panics, aborts, hangs and memory use are observed from outside.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::limits::Limits;
use super::manifest::Format;
use super::open::Report;

/// Interval for checking on the process.
pub const GLANCE: Duration = Duration::from_millis(2);

/// Maximum size of a report and of the process's stderr output, in bytes.
const LARGEST_REPORT: u64 = 64 << 20;
const LONGEST_TALK: u64 = 64 << 10;

/// What was observed of a process.
pub struct Observation {
    /// Its report, or how it ended without one.
    pub report: Result<Report, String>,
    /// Wall-clock time from its start to its report.
    pub wall: Duration,
    /// Peak resident memory in bytes, if measured.
    pub memory: Option<u64>,
    /// What it wrote to stderr.
    pub talk: String,
}

/// What a process has used so far.
#[derive(Debug, Default)]
pub struct Usage {
    /// Processor time.
    pub time: Option<Duration>,
    /// Peak resident memory in bytes.
    pub memory: Option<u64>,
}

/// Opens `path` in another process of this program, with the file's folder as its working and temporary folder.
pub fn observe(format: Format, path: &Path, limits: &Limits) -> Result<Observation, String> {
    let folder = path.parent().unwrap_or(path);
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.args(["corpus-case", &format.name()]).arg(path).current_dir(folder).env("TMPDIR", folder);
    watch(command, limits)
}

/// Runs a process that prints a report on one line and then waits for the end of its stdin.
fn watch(mut command: Command, limits: &Limits) -> Result<Observation, String> {
    let failed = |error: std::io::Error| format!("the process of the case: {error}");
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let reports = first_line(child.stdout.take());
    let stderr = child.stderr.take();
    let talk = thread::spawn(move || {
        let mut talk = Vec::new();
        // Output that cannot be read is ignored.
        let _ = stderr.map(|stderr| stderr.take(LONGEST_TALK).read_to_end(&mut talk));
        String::from_utf8_lossy(&talk).into_owned()
    });
    let (line, memory) = await_report(&mut child, &reports, start, limits);
    let wall = start.elapsed();
    // The process waits for the end of its stdin.
    drop(child.stdin.take());
    let status = match &line {
        Ok(_) => await_end(&mut child, start, limits).map_err(failed)?,
        Err(_) => stop(&mut child).map_err(failed)?,
    };
    let talk = talk.join().unwrap_or_default();
    let report = match line {
        Err(why) => Err(why),
        Ok(_) if !status.success() => Err(format!("ended with {status}")),
        Ok(line) => serde_json::from_str(&line).map_err(|error| format!("its report is not one: {error}")),
    };
    Ok(Observation { report, wall, memory, talk })
}

/// Returns the first line that a process writes, empty if there is none.
fn first_line(stdout: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut line = String::new();
        // An error leaves half a line, which is not a report; the receiver may be gone by then.
        let _ = stdout.map(|stdout| BufReader::new(stdout.take(LARGEST_REPORT)).read_line(&mut line));
        let _ = sender.send(line);
    });
    receiver
}

/// Waits for the report, or until a limit is exceeded.
fn await_report(
    child: &mut Child,
    reports: &Receiver<String>,
    start: Instant,
    limits: &Limits,
) -> (Result<String, String>, Option<u64>) {
    let mut memory = None;
    loop {
        let line = reports.recv_timeout(GLANCE);
        let usage = usage_of(child.id());
        memory = usage.memory.or(memory);
        let over = if memory.is_some_and(|memory| memory > limits.memory) {
            Some(format!("took more than {} MiB of memory", limits.memory >> 20))
        } else if usage.time.is_some_and(|time| time > limits.time) {
            Some(format!("took more than {:.1} s of processor time", limits.time.as_secs_f64()))
        } else if start.elapsed() > limits.wall {
            Some(format!("took more than {:.1} s", limits.wall.as_secs_f64()))
        } else {
            None
        };
        match (over, line) {
            (Some(over), _) => return (Err(over), memory),
            (None, Ok(line)) => return (Ok(line), memory),
            (None, Err(RecvTimeoutError::Disconnected)) => return (Ok(String::new()), memory),
            (None, Err(RecvTimeoutError::Timeout)) => {}
        }
    }
}

/// Waits for a process that has reported to end; stops it at the limit.
fn await_end(child: &mut Child, start: Instant, limits: &Limits) -> std::io::Result<ExitStatus> {
    while start.elapsed() <= limits.wall {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        thread::sleep(GLANCE / 4);
    }
    stop(child)
}

/// Kills a process; one that has already ended keeps its status.
fn stop(child: &mut Child) -> std::io::Result<ExitStatus> {
    child.kill()?;
    child.wait()
}

/// Returns what a process has used, as Linux reports it; other systems report nothing.
pub fn usage_of(process: u32) -> Usage {
    /// The unit in which Linux counts processor time for programs.
    const TICK: Duration = Duration::from_millis(10);
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{process}/{name}")).unwrap_or_default();
    let status = read("status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    // The program name, in parentheses, may contain anything; processor time is 11 and 12 fields after it.
    let stat = read("stat");
    let ticks = stat.rsplit_once(')').and_then(|(_, fields)| {
        let mut fields = fields.split_ascii_whitespace().skip(11);
        Some(fields.next()?.parse::<u32>().ok()? + fields.next()?.parse::<u32>().ok()?)
    });
    Usage { time: ticks.map(|ticks| TICK * ticks), memory: kibibytes.map(|size| size << 10) }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn how_a_process_ends_is_seen() {
        const LONG: Duration = Duration::from_secs(60);
        const ROOM: Limits = Limits { time: LONG, wall: LONG, memory: 1 << 40 };
        let check = |script: &str, limits: Limits, expected: Result<&str, &str>| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            let seen = watch(command, &limits).unwrap();
            let report = match seen.report {
                Ok(Report::Refused(message)) => Ok(message),
                Ok(Report::Loaded(_)) => Ok("loaded".to_owned()),
                Err(why) => Err(format!("{why} {}", seen.talk)),
            };
            let ((Ok(found), Ok(part)) | (Err(found), Err(part))) = (&report, &expected) else {
                panic!("{script}: {report:?}, expected {expected:?}");
            };
            assert!(found.contains(part), "{script}: `{found}` does not say `{part}`");
        };
        let report = r#"echo '{"Refused": "wrong"}'"#;
        check(&format!("{report}; read end"), ROOM, Err("ended with exit status: 1"));
        check(&format!("{report}; read end; exit 0"), ROOM, Ok("wrong"));
        check(&format!("{report}; kill -ABRT $$"), ROOM, Err("signal: 6"));
        check("kill -SEGV $$", ROOM, Err("signal: 11"));
        check("echo thread panicked >&2; exit 101", ROOM, Err("exit status: 101 thread panicked"));
        check("echo words; read end; exit 0", ROOM, Err("its report is not one"));
        let wall = Limits { wall: Duration::from_millis(50), ..ROOM };
        check("exec sleep 60", wall, Err("took more than 0.1 s"));
        let time = Limits { time: Duration::from_millis(50), ..ROOM };
        check("while :; do :; done", time, Err("of processor time"));
        check("exec sleep 60", Limits { memory: 1, ..ROOM }, Err("of memory"));
    }
}
