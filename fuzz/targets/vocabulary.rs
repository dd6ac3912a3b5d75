//! CLIP tokenizer vocabularies, compressed and uncompressed.
#![no_main]

use clipway_fuzz::{bounded, check_message};
use clipway_run::text::check_tokenizer_file;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Err(error) = bounded(input.len(), || check_tokenizer_file("bpe.txt.gz", input)) {
        check_message(&error);
    }
});
