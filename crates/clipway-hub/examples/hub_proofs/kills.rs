//! Pulls that are killed, and pulls that race.

use std::time::Duration;

use crate::bench::Bench;

/// Kills pulls at `count` moments, evenly spread over the bytes of the file; the next run must transfer exactly what is
/// missing.
pub fn kills(program: &str, count: usize, size: usize) -> Result<String, String> {
    let bench = Bench::new(program, size)?;
    let (mut kept, mut ended) = (0, 0);
    for moment in 0..count {
        bench.fresh();
        let mut child = bench.pull()?;
        let threshold = size / count * moment;
        while bench.sent() < threshold.max(1)
            && child.try_wait().map_err(|error| error.to_string())?.is_none()
        {
            std::thread::sleep(Duration::from_micros(300));
        }
        // SIGKILL: the program has no chance to clean up.
        child.kill().map_err(|error| error.to_string())?;
        let was_done = bench.end(child)?.code == Some(0);
        let partial = if was_done { size } else { bench.partial() };
        if partial > size {
            return Err(format!("{partial} bytes of partial files for a file of {size}"));
        }
        bench.fake.calm();
        let again = bench.end(bench.pull()?)?;
        bench.check_whole(&again).map_err(|why| format!("after the kill at {threshold}: {why}"))?;
        // A complete blob that lacked only its name is fetched from its partial file too, with no byte.
        if bench.sent() != size - partial {
            let sent = bench.sent();
            return Err(format!("{partial} of {size} bytes were here, but {sent} were transferred"));
        }
        kept += partial;
        ended += usize::from(was_done);
    }
    Ok(format!(
        "{count} kills of a pull of {} MiB ({ended} had ended): every next run transferred exactly what was missing; {:.1} % was kept",
        size >> 20,
        100.0 * kept as f64 / (size * count) as f64
    ))
}

/// Two pulls at once make one transfer.
pub fn races(program: &str, count: usize, size: usize) -> Result<String, String> {
    let bench = Bench::new(program, size)?;
    for _ in 0..count {
        bench.fresh();
        let both = [bench.pull()?, bench.pull()?];
        for child in both {
            bench.check_whole(&bench.end(child)?)?;
        }
        let (sent, asked) = (bench.sent(), bench.fake.count("/object/"));
        if sent != size || asked != 1 {
            return Err(format!("two pulls of {size} bytes transferred {sent} with {asked} requests"));
        }
    }
    Ok(format!("{count} races of two pulls of {} MiB: one transfer of exactly that each time", size >> 20))
}
