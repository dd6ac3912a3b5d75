//! The `preprocessor_config.json` of a transformers folder, next to the weights of a small model.
#![no_main]

use std::cell::LazyCell;

use clipway_fuzz::{Scratch, check_prepared, transformers_folder};

thread_local! {
    static FOLDER: LazyCell<Scratch> = LazyCell::new(|| {
        let scratch = transformers_folder();
        scratch.write("config.json", include_bytes!("../seeds/hf_config/small.json"));
        scratch
    });
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    FOLDER.with(|folder| {
        folder.write("preprocessor_config.json", input);
        check_prepared(folder);
    });
});
