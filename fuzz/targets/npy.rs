//! numpy arrays.
#![no_main]

use clipway_formats::NpyFile;
use clipway_fuzz::check_file;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    check_file(input, NpyFile::open);
});
