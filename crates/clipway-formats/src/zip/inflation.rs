//! Limits how much an archive may inflate to.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Method, ZipArchive};
use crate::error::{Code, FormatError, Place};

/// Bytes that an archive's deflated entries may inflate to in total, in addition to [`MOST_INFLATION`] times their
/// size. A setting of the process: see [`raise_inflation_limit`].
static FREELY_INFLATED: AtomicU64 = AtomicU64::new(32 << 20);
/// How many times their size an archive's deflated entries may inflate to. Weights compress far less.
const MOST_INFLATION: u64 = 8;

/// Lets the deflated entries of each archive that this process opens inflate to `bytes` in total, besides what their size
/// allows. A limit is never lowered.
pub fn raise_inflation_limit(bytes: u64) {
    FREELY_INFLATED.fetch_max(bytes, Ordering::Relaxed);
}

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
        let free = FREELY_INFLATED.load(Ordering::Relaxed);
        let most = stored.saturating_mul(MOST_INFLATION).saturating_add(free);
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
