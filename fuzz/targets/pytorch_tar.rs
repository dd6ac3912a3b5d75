//! PyTorch tar archives from before 0.1.10.
#![no_main]

use clipway_fuzz::check_pytorch;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    check_pytorch(input);
});
