//! A hard limit on memory: past it an allocation fails, which ends the process as a finding.

use std::alloc::System;

use cap::Cap;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// What a reader may take beside twice the bytes of its input: 64 MiB, less what the process itself has.
const ROOM: usize = 56 << 20;

/// Runs a reader of `bytes` bytes within its memory.
pub fn bounded<T>(bytes: usize, run: impl FnOnce() -> T) -> T {
    limited(ROOM + 2 * bytes, run)
}

/// Runs with at most this many bytes more than there are now.
pub(crate) fn limited<T>(room: usize, run: impl FnOnce() -> T) -> T {
    // Shrinking never fails here: the limit is above what is allocated.
    ALLOCATOR.set_limit(ALLOCATOR.allocated() + room).expect("a limit above what is allocated");
    let result = run();
    ALLOCATOR.set_limit(usize::MAX).expect("no limit");
    result
}
