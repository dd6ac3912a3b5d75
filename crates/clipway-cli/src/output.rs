//! Single files that commands write.

use std::io;
use std::path::Path;

use clipway_model::output::{OutputOptions, StagedFile, Staging, TargetKind, check_apart};

use crate::failure::{Failure, chain};
use crate::hints;

/// Opens a file to write. An existing one is refused unless it is to be replaced, and so is one of the inputs, before
/// anything is computed.
pub fn file(out: &Path, force: bool, inputs: &[&Path]) -> Result<Staging, Failure> {
    start(out, OutputOptions { kind: TargetKind::File, force, ..OutputOptions::default() }, inputs)
}

/// Opens a new folder; nothing may be at its path.
#[cfg(feature = "search")]
pub fn folder(out: &Path) -> Result<Staging, Failure> {
    start(out, OutputOptions::default(), &[])
}

fn start(out: &Path, options: OutputOptions, inputs: &[&Path]) -> Result<Staging, Failure> {
    let inputs: Vec<&Path> = inputs.iter().copied().filter(|path| path.exists()).collect();
    let staging = check_apart(out, &inputs).and_then(|()| Staging::create(out, options));
    staging.map_err(|error| {
        let hint = hints::of_output(&error);
        Failure { hint, ..Failure::could_not_run(error.code(), chain(&error)) }
    })
}

/// Writes the contents of a file that was opened, and puts it into place.
pub fn put(staging: Staging, write: impl FnOnce(&StagedFile) -> io::Result<()>) -> Result<(), Failure> {
    let failure = |error: &dyn std::error::Error| Failure::could_not_run("write", chain(error));
    let file = staging.single_file().map_err(|error| failure(&error))?;
    write(&file).map_err(|error| failure(&error))?;
    drop(file);
    staging.commit().map(|_| ()).map_err(|error| failure(&error))
}
