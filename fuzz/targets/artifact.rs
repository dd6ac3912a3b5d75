//! A folder's `clipway.json`.
#![no_main]

use clipway_fuzz::{bounded, check_message};
use clipway_model::artifact::Artifact;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    match bounded(input.len(), || Artifact::parse(input)) {
        Ok(artifact) => {
            let again = Artifact::parse(artifact.to_json().as_bytes());
            assert_eq!(again.as_ref(), Ok(&artifact), "written and read again");
        }
        Err(error) => check_message(&error),
    }
});
