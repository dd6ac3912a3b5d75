//! AVIF images.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| clipway_fuzz::check_image(input));
