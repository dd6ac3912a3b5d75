//! Limits on the cost of opening a file.

use std::time::Duration;

use super::manifest::Format;

/// Factor by which wall-clock time may exceed the limit on a machine with more work than processors: then only
/// processor time is held to the limit.
const LOADED_FACTOR: u32 = 10;

/// Limits of one case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Processor time.
    pub time: Duration,
    /// Wall-clock time.
    pub wall: Duration,
    /// Peak resident memory, in bytes.
    pub memory: u64,
}

impl Limits {
    /// Returns the limits for `bytes` of files: 1 s plus 0.2 s per megabyte; 64 MiB plus twice the bytes, or 128 MiB
    /// for an image.
    pub fn of(format: Format, bytes: u64, is_loaded: bool) -> Limits {
        let time =
            Duration::from_secs(1) + Duration::from_nanos(200).saturating_mul(bytes.min(1 << 31) as u32);
        let memory = match format {
            Format::Image => 128 << 20,
            _ => (64 << 20) + 2 * bytes,
        };
        Limits { time, wall: time * if is_loaded { LOADED_FACTOR } else { 1 }, memory }
    }
}

/// Returns the load average over the last minute and the number of processors; `None` if it is not measured.
pub fn load() -> Option<(f64, usize)> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    let waiting = text.split(' ').next()?.parse().ok()?;
    Some((waiting, std::thread::available_parallelism().ok()?.get()))
}

/// Returns whether other work slows down a single process.
pub fn is_loaded() -> bool {
    load().is_some_and(|(waiting, processors)| waiting > processors as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_grow_with_the_file() {
        let check = |format, bytes, loaded, time: f64, wall: f64, memory: u64| {
            let seconds = Duration::from_secs_f64;
            let expected = Limits { time: seconds(time), wall: seconds(wall), memory: memory << 20 };
            assert_eq!(Limits::of(format, bytes, loaded), expected);
        };
        check(Format::Pt, 0, false, 1.0, 1.0, 64);
        check(Format::Pt, 2 << 20, true, 1.4194304, 14.194304, 68);
        check(Format::Image, 5_000_000, false, 2.0, 2.0, 128);
    }
}
