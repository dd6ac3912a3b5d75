//! safetensors files.
#![no_main]

use clipway_formats::SafetensorsFile;
use clipway_fuzz::{bounded, check_file};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    bounded(input.len(), || SafetensorsFile::open(std::sync::Arc::new(input.to_vec())).is_ok());
    check_file(input, SafetensorsFile::open);
});
