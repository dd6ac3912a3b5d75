//! PyTorch zip archives. Mutated archives get correct checksums, so that the code behind them is reached.
#![no_main]

use clipway_fuzz::{check_pytorch, mutate_archive};

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate_archive(data, size, max_size, seed)
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    check_pytorch(input);
});
