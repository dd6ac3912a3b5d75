//! open_clip configs: an accepted one survives writing and reading, and either builds or says why not.
#![no_main]

use clipway_fuzz::{bounded, check_message};
use clipway_model::architecture;
use clipway_model::config::ConfigFile;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let file = match bounded(input.len(), || ConfigFile::parse(input)) {
        Ok(file) => file,
        Err(error) => return check_message(&error),
    };
    let preprocess = file.preprocess();
    let text = file.model.to_config_file(&preprocess);
    let again = ConfigFile::parse(text.as_bytes()).expect("a config that was written");
    assert_eq!(again.model.to_json(), file.model.to_json(), "written and read again");
    assert_eq!(again.preprocess(), preprocess, "written and read again");
    match bounded(input.len(), || architecture::build(&file.model)) {
        Ok(model) => assert_eq!(architecture::build(&file.model).as_ref().ok(), Some(&model)),
        Err(error) => check_message(&error),
    }
});
