//! The `config.json` of a transformers folder, next to the weights of a small model.
#![no_main]

use std::cell::LazyCell;

use clipway_fuzz::{Scratch, check_prepared, transformers_folder};

thread_local! {
    static FOLDER: LazyCell<Scratch> = LazyCell::new(transformers_folder);
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    FOLDER.with(|folder| {
        folder.write("config.json", input);
        check_prepared(folder);
    });
});
