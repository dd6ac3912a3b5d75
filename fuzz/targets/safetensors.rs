//! safetensors files.
#![no_main]

use clipway_formats::SafetensorsFile;
use clipway_fuzz::check_file;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    check_file(input, SafetensorsFile::open);
});
