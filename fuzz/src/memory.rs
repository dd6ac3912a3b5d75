//! Hard limits on what one execution takes: past its memory an allocation fails, past its time it panics. Both end the
//! process as a finding.

use std::alloc::System;
use std::time::Duration;

use cap::Cap;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// What a reader may take beside twice the bytes of its input: 64 MiB, less what the process itself has.
const ROOM: usize = 56 << 20;

/// Processor time of one call, of all its threads, in a target that counts its edges: a limit of a second for what is
/// built for use. The clock on the wall is not read: a loaded machine would make findings.
const LONGEST: Duration = Duration::from_secs(4);

/// Runs a reader of `bytes` bytes within its memory.
pub fn bounded<T>(bytes: usize, run: impl FnOnce() -> T) -> T {
    limited(ROOM + 2 * bytes, run)
}

/// Runs with at most this many bytes more than there are now.
pub(crate) fn limited<T>(room: usize, run: impl FnOnce() -> T) -> T {
    // Shrinking never fails here: the limit is above what is allocated.
    ALLOCATOR.set_limit(ALLOCATOR.allocated() + room).expect("a limit above what is allocated");
    let start = processor_time();
    let result = run();
    let taken = processor_time().saturating_sub(start);
    ALLOCATOR.set_limit(usize::MAX).expect("no limit");
    assert!(taken <= LONGEST, "one input took {taken:?}");
    result
}

/// Processor time of the process, so that work given to other threads counts.
#[cfg(unix)]
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Always zero where there is no such clock: libFuzzer's own limit remains.
#[cfg(not(unix))]
fn processor_time() -> Duration {
    Duration::ZERO
}
