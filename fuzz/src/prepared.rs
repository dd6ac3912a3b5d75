//! transformers folders, whose small files decide what becomes of the weights.

use std::sync::Arc;

use clipway_formats::{Dtype, SafetensorsLayout};
use clipway_model::checkpoint::Checkpoint;
use clipway_model::source::{Source, SourceOptions};

use crate::{Scratch, check_message, infos_of};

/// Creates a folder with the weights of a small model.
///
/// # Panics
/// If the system refuses.
pub fn transformers_folder() -> Scratch {
    let scratch = Scratch::new();
    let infos = infos_of(include_str!("../seeds/names/transformers.txt"), Dtype::F32);
    scratch.write_zeros(&SafetensorsLayout::new(&infos, &[]).expect("names of a small model"));
    scratch
}

/// Resolves a folder twice and expects the same result.
///
/// # Panics
/// If the results differ, or a refusal breaks the rules.
pub fn check_prepared(folder: &Scratch) {
    let checkpoint = Arc::new(Checkpoint::open(folder.path()).expect("sound weights"));
    let resolve = || Source::of(Arc::clone(&checkpoint), &SourceOptions::default());
    match (resolve(), resolve()) {
        (Ok(first), Ok(second)) => {
            assert_eq!((first.config(), first.plan()), (second.config(), second.plan()))
        }
        (Err(first), Err(second)) => {
            assert_eq!(first.to_string(), second.to_string());
            check_message(&first);
        }
        _ => panic!("accepted and refused"),
    }
}
