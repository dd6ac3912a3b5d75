//! Pickles, both standalone and as the `data.pkl` of a sound archive with one storage.
#![no_main]

use clipway_fuzz::{check_pytorch, stored_archive};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    check_pytorch(input);
    let entries = [("a/data.pkl", input), ("a/data/0", &[0x3f; 64]), ("a/version", b"3\n")];
    check_pytorch(&stored_archive(&entries));
});
