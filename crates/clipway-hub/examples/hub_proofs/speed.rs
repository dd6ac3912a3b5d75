//! A pull with verification beside `curl` of the same file.
#![expect(clippy::disallowed_methods, reason = "files of a proof")]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::bench::{Bench, FILE, REPO};

/// Least rate of a pull, as a share of curl's.
const LEAST: f64 = 0.8;

/// Measures both by turns; the medians are compared.
pub fn run(program: &str, turns: usize, size: usize) -> Result<String, String> {
    let bench = Bench::new(program, size)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for turn in 0..turns {
        bench.fresh();
        let start = Instant::now();
        let ended = bench.end(bench.pull()?)?;
        ours.push(start.elapsed());
        bench.check_whole(&ended)?;
        theirs.push(curl(&bench)?);
        let rate = |times: &[Duration]| megabytes(size, times[turn]);
        println!("turn {turn}: clipway {:.0} MB/s, curl {:.0} MB/s", rate(&ours), rate(&theirs));
    }
    let (ours, theirs) = (megabytes(size, median(ours)), megabytes(size, median(theirs)));
    let said = format!(
        "{} MB, median of {turns} turns: clipway {ours:.0} MB/s with verification, curl {theirs:.0} MB/s; ratio {:.2}",
        size / 1_000_000,
        ours / theirs
    );
    if ours >= LEAST * theirs { Ok(said) } else { Err(said) }
}

fn curl(bench: &Bench) -> Result<Duration, String> {
    let out = bench.path("curl.out");
    let _ = std::fs::remove_file(&out);
    let url = format!("{}/{REPO}/resolve/main/{FILE}", bench.fake.endpoint());
    let start = Instant::now();
    let mut command = Command::new("curl");
    command.args(["--silent", "--fail", "--location", "--noproxy", "*", "--output"]).arg(&out).arg(url);
    let status = command.stdin(Stdio::null()).status().map_err(|error| format!("curl: {error}"))?;
    let time = start.elapsed();
    let size = std::fs::metadata(&out).map_or(0, |data| data.len() as usize);
    let is_whole = status.success() && size == bench.bytes.len();
    if is_whole { Ok(time) } else { Err(format!("curl: {status}, {size} bytes")) }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn megabytes(size: usize, time: Duration) -> f64 {
    size as f64 / 1e6 / time.as_secs_f64()
}
