//! Names and shapes, one tensor per line: layouts, identification, plans and ledgers of arbitrary sets of them.
#![no_main]

use std::cell::LazyCell;
use std::sync::atomic::AtomicBool;

use clipway_formats::{Dtype, SafetensorsLayout};
use clipway_fuzz::{Scratch, bounded, check_message, infos_of};
use clipway_model::checkpoint::Checkpoint;
use clipway_model::inspect::{InspectOptions, inspect};
use clipway_model::source::{Source, SourceOptions};

/// Largest sparse file to create.
const LARGEST: u64 = 1 << 36;

thread_local! {
    static FOLDER: LazyCell<Scratch> = LazyCell::new(Scratch::new);
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(layout) = SafetensorsLayout::new(&infos_of(text, Dtype::F32), &[]) else { return };
    if layout.file_size() > LARGEST {
        return;
    }
    FOLDER.with(|folder| {
        folder.write_zeros(&layout);
        let Ok(checkpoint) = Checkpoint::open(folder.path()) else { return };
        let inspection = bounded(input.len(), || {
            inspect(&checkpoint, &InspectOptions::default(), &(), &AtomicBool::new(false))
        });
        assert!(inspection.is_ok_and(|inspection| inspection.is_some()));
        match bounded(input.len(), || Source::of(checkpoint, &SourceOptions::default())) {
            Ok(prepared) => {
                prepared.plan().check().expect("steps that fit each other");
                let written = prepared.plan().tensors.len();
                assert_eq!(
                    written,
                    prepared.model().parameters.in_state_dict_order().len(),
                    "nothing but the model"
                );
            }
            Err(error) => check_message(&error),
        }
    });
});
