//! The `config.json` of a folder of transformers, beside the weights of a small model.
#![no_main]

use std::cell::LazyCell;

use clipway_formats::{Dtype, SafetensorsLayout};
use clipway_fuzz::{Scratch, check_message, infos_of};
use clipway_model::checkpoint::Checkpoint;
use clipway_model::export::{ExportOptions, prepare};

thread_local! {
    static FOLDER: LazyCell<Scratch> = LazyCell::new(|| {
        let scratch = Scratch::new();
        let infos = infos_of(include_str!("../seeds/names/transformers.txt"), Dtype::F32);
        scratch.write_zeros(&SafetensorsLayout::new(&infos, &[]).expect("names of a small model"));
        scratch
    });
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    FOLDER.with(|folder| {
        folder.write("config.json", input);
        let checkpoint = Checkpoint::open(folder.path()).expect("sound weights");
        let prepare = || prepare(&checkpoint, &ExportOptions::default());
        match (prepare(), prepare()) {
            (Ok(first), Ok(second)) => {
                assert_eq!((first.config(), first.plan()), (second.config(), second.plan()))
            }
            (Err(first), Err(second)) => {
                assert_eq!(first.to_string(), second.to_string());
                check_message(&first);
            }
            _ => panic!("accepted and refused"),
        }
    });
});
