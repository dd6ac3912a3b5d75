//! PyTorch zip archives. The checksums of a changed archive are set right, so that what is behind them is reached.
#![no_main]

use clipway_formats::{PytorchFile, PytorchOptions};
use clipway_fuzz::repair_checksums;
use clipway_fuzz::{bounded, check_pytorch};

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    // One in eight keeps what the fuzzer made of the checksums.
    if seed % 8 != 0 {
        repair_checksums(&mut data[..size]);
    }
    size
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let options = PytorchOptions::default();
    bounded(input.len(), || PytorchFile::open(std::sync::Arc::new(input.to_vec()), options).is_ok());
    check_pytorch(input);
});
