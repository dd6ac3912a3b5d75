//! A drawn case: what runs where, and the required result.

use std::path::Path;

/// Name of a run's output. A failing run leaves nothing whose name starts with it or its hidden form.
pub const OUT: &str = "o";

/// Text that no output may contain and no run may print.
pub const SECRET: &str = "TOPSECRET";

/// Where a case is created.
pub struct Stage<'a> {
    /// The case's own folder.
    pub folder: &'a Path,
    /// An exported folder of the demo model that no case changes.
    pub exported: &'a Path,
}

/// A run and its limits.
pub struct Drawn {
    /// Arguments of the program.
    pub arguments: Vec<String>,
    pub expected: Verdict,
    /// Maximum processor time of an optimized build, in seconds.
    pub seconds: u32,
    /// Maximum memory, in millions of bytes.
    pub megabytes: u64,
    /// Maximum bytes that the run adds on disk, in millions.
    pub disk: u64,
    /// Description of the case.
    pub detail: String,
}

/// The required result of a run.
pub enum Verdict {
    /// Either success or a refusal with a code.
    Either,
    Done,
    /// A refusal with one of these codes.
    Refused(&'static [&'static str]),
}

/// Splits a line into words.
pub fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}
