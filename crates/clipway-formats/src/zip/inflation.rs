//! Limits how much an archive may inflate to.

use super::{Method, ZipArchive};
use crate::error::{Code, FormatError, Place};

/// Bytes that an archive's deflated entries may inflate to in total, in addition to [`MOST_INFLATION`] times their
/// size.
const FREELY_INFLATED: u64 = 32 << 20;
/// How many times their size an archive's deflated entries may inflate to. Weights compress far less.
const MOST_INFLATION: u64 = 8;

impl ZipArchive {
    /// Refuses an archive whose deflated entries together inflate far beyond their size. A single small entry may; many
    /// of them may not, so a limit per entry would not be enough.
    ///
    /// # Errors
    /// `Code::TooLarge`, at the entry that adds most.
    pub(crate) fn check_inflation(&self) -> Result<(), FormatError> {
        let deflated = || self.entries.iter().filter(|entry| entry.method == Method::Deflated);
        let stored = deflated().map(|entry| entry.compressed).fold(0, u64::saturating_add);
        let inflated = deflated().map(|entry| entry.size).fold(0, u64::saturating_add);
        let most = stored.saturating_mul(MOST_INFLATION).saturating_add(FREELY_INFLATED);
        let worst = deflated().max_by_key(|entry| entry.size.saturating_sub(entry.compressed));
        match worst {
            Some(worst) if inflated > most => {
                let cause = format!(
                    "its {} bytes inflate to {}; the deflated entries of the archive have {stored} bytes and inflate to \
                     {inflated}; the limit is {most}",
                    worst.compressed, worst.size
                );
                Err(FormatError::new(Code::TooLarge, Place::Entry(worst.name.clone()), cause))
            }
            _ => Ok(()),
        }
    }
}
