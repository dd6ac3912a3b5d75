//! Odd files that are read all the same, each with the reason.

use super::manifest::{Case, Format};

/// A file that the manifest would have refused, of severity `strict`, and that is read on purpose.
pub struct Exception {
    /// Kind of the file.
    pub format: Format,
    /// Name of the case.
    pub name: &'static str,
    /// Why it is read.
    pub reason: &'static str,
}

/// Every exception.
const EXCEPTIONS: &[Exception] = &[];

/// Least share of the strict cases that are refused, in percent.
pub const LEAST_REFUSED: usize = 95;

/// The exception that is made for a case.
pub fn of(case: &Case) -> Option<&'static Exception> {
    let is_meant = |exception: &&Exception| exception.format == case.format && exception.name == case.name;
    EXCEPTIONS.iter().filter(|_| case.is_strict()).find(is_meant)
}
