//! A drawn case: what runs where, and the required result.

use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Name of a run's output. A failing run leaves nothing whose name starts with it or its hidden form.
pub const OUT: &str = "o";

/// Text that no output may contain and no run may print.
pub const SECRET: &str = "TOPSECRET";

/// Where a case is created.
pub struct Stage<'a> {
    /// The program under attack.
    pub program: &'a Path,
    /// The case's own folder.
    pub folder: &'a Path,
    /// An exported folder of the demo model that no case changes.
    pub exported: &'a Path,
}

/// What goes on beside a run, until it learns that the run has ended.
pub type Beside = Box<dyn FnOnce(&AtomicBool) + Send>;

/// Looks at what a run left, told whether it succeeded; returns the problems.
pub type After = Box<dyn FnOnce(bool) -> Result<Vec<String>, String>>;

/// A run and its limits.
#[derive(Default)]
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
    /// Whether a refused run may leave the output, because it put back what looks like a killed run's.
    pub puts_back: bool,
    /// Description of the case.
    pub detail: String,
    pub beside: Option<Beside>,
    pub after: Option<After>,
}

/// The required result of a run.
#[derive(Default)]
pub enum Verdict {
    /// Either success or a refusal with a code.
    #[default]
    Either,
    Done,
    /// A refusal with one of these codes.
    Refused(&'static [&'static str]),
    /// The answer no, with these words.
    No(&'static str),
}

/// Splits a line into words.
pub fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}
