//! PyTorch tar archives of before 0.1.10.
#![no_main]

use clipway_formats::{PytorchFile, PytorchOptions};
use clipway_fuzz::{bounded, check_pytorch};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let options = PytorchOptions::default();
    bounded(input.len(), || PytorchFile::open(std::sync::Arc::new(input.to_vec()), options).is_ok());
    check_pytorch(input);
});
