//! Exports that are killed at random moments.

use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use super::bench::Bench;
use crate::random::Random;

/// Interval for checking on a process.
const GLANCE: Duration = Duration::from_micros(500);

/// Maximum number of exports that end before they are killed, for each one killed.
const MOST_ENDED: usize = 4;

/// The results of the kills.
#[derive(Default)]
struct Count {
    old: usize,
    new: usize,
    ended: usize,
    leftovers: usize,
}

impl Count {
    /// Returns how many exports had not ended when they were killed.
    fn killed(&self) -> usize {
        self.old + self.new - self.ended
    }

    fn told(&self) -> String {
        format!(
            "{} kills, and {} exports that had ended: {} times the old artifact, {} times the new one, whole by hash; \
             {} left something, which the next run removed",
            self.killed(),
            self.ended,
            self.old,
            self.new,
            self.leftovers
        )
    }
}

/// Kills this many exports, each at a different moment.
pub fn run(bench: &Bench, moments: usize, seed: u64) -> Result<String, String> {
    let mut length = bench.length;
    let mut random = Random::new(seed);
    let mut count = Count::default();
    let mut current = 1;
    let out = bench.out();
    while count.killed() < moments {
        if count.ended > MOST_ENDED * (moments + 1) {
            return Err(format!("most exports end before they are killed: {}", count.told()));
        }
        let next = 1 - current;
        let delay = length.mul_f64(1.05 * random.unit());
        let context =
            |why: String| format!("kill {} after {:.3} s: {why}", count.killed(), delay.as_secs_f64());
        let ended =
            bench.spawn(bench.replace(next)).and_then(|child| kill_after(child, delay)).map_err(context)?;
        // On a busy machine, export times vary.
        match ended {
            Some(found) => length = found,
            None if delay > length.mul_f64(0.9) => length = length.mul_f64(1.1),
            None => {}
        }
        let placed = bench.placed(&out).map_err(context)?;
        let leftovers = bench.leftovers(&out)?.len();
        bench.check_next_run(&out).map_err(context)?;
        count.old += usize::from(placed == current);
        count.new += usize::from(placed == next);
        count.ended += usize::from(ended.is_some());
        count.leftovers += usize::from(leftovers > 0);
        current = placed;
    }
    Ok(count.told())
}

/// Kills a run after some time; returns how long it took if it had already ended.
pub fn kill_after(mut child: Child, delay: Duration) -> Result<Option<Duration>, String> {
    let start = Instant::now();
    while start.elapsed() < delay {
        if child.try_wait().map_err(|error| error.to_string())?.is_some() {
            return Ok(Some(start.elapsed()));
        }
        thread::sleep(GLANCE.min(delay.saturating_sub(start.elapsed())));
    }
    child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
    Ok(None)
}
