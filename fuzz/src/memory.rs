//! Hard limits on one execution: beyond its memory an allocation fails, beyond its time it panics. Either ends the
//! process as a finding.

use std::alloc::System;
use std::time::Duration;

use cap::Cap;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Memory a reader may take beyond twice the size of its input: 64 MiB, less what the process itself uses.
const ROOM: usize = 56 << 20;

/// Processor time of one call, over all its threads, in an instrumented target; equivalent to a second in a normal
/// build. Wall-clock time is not used, since a loaded machine would cause false findings.
const LONGEST: Duration = Duration::from_secs(4);

/// Runs a reader of `bytes` bytes within its memory limit.
pub fn bounded<T>(bytes: usize, run: impl FnOnce() -> T) -> T {
    limited(ROOM + 2 * bytes, run)
}

/// Runs with at most this many bytes more than are allocated now.
pub(crate) fn limited<T>(room: usize, run: impl FnOnce() -> T) -> T {
    // Never fails: the limit is above the current allocation.
    ALLOCATOR.set_limit(ALLOCATOR.allocated() + room).expect("a limit above what is allocated");
    let start = processor_time();
    let result = run();
    let taken = processor_time().saturating_sub(start);
    ALLOCATOR.set_limit(usize::MAX).expect("no limit");
    assert!(taken <= LONGEST, "one input took {taken:?}");
    result
}

/// Returns the processor time of the process, so that work handed to other threads counts.
#[cfg(unix)]
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Returns zero on systems without such a clock; libFuzzer's own limit remains.
#[cfg(not(unix))]
fn processor_time() -> Duration {
    Duration::ZERO
}
