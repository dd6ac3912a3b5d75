//! Odd files that are accepted anyway, each with the reason.

use super::manifest::{Case, Format};

/// A file of severity `strict` that the manifest says to refuse, but that is accepted on purpose.
pub struct Exception {
    /// Kind of the file.
    pub format: Format,
    /// Name of the case.
    pub name: &'static str,
    /// Why it is accepted.
    pub reason: &'static str,
}

/// Every exception.
const EXCEPTIONS: &[Exception] = &[];

/// Minimum share of the strict cases that must be refused, in percent.
pub const LEAST_REFUSED: usize = 95;

/// Returns the exception for a case, if any.
pub fn of(case: &Case) -> Option<&'static Exception> {
    let is_meant = |exception: &&Exception| exception.format == case.format && exception.name == case.name;
    EXCEPTIONS.iter().filter(|_| case.is_strict()).find(is_meant)
}
