//! A drawn case: what is run where, and what it must come to.

use std::path::Path;

/// Name of a run's output. A run that fails leaves nothing whose name begins with it or with its hidden form.
pub const OUT: &str = "o";

/// What no output may hold, and what no run may print.
pub const SECRET: &str = "TOPSECRET";

/// Where a case is made.
pub struct Stage<'a> {
    /// The case's own folder.
    pub folder: &'a Path,
    /// An exported folder of the demo model, which no case changes.
    pub exported: &'a Path,
}

/// A run, and what is known of it.
pub struct Drawn {
    /// Of the program.
    pub arguments: Vec<String>,
    pub expected: Verdict,
    /// Longest processor time of an optimized build, in seconds.
    pub seconds: u32,
    /// Most memory, in millions of bytes.
    pub megabytes: u64,
    /// Most bytes that the run adds on the disk, in millions.
    pub disk: u64,
    /// What was drawn.
    pub detail: String,
}

/// What a run must come to.
pub enum Verdict {
    /// Done, or refused with a code.
    Either,
    Done,
    /// Refused with one of these codes.
    Refused(&'static [&'static str]),
}

/// The words of a line.
pub fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}
