//! How long a text may become inside a tokenizer.

use tokenizers::{NormalizedString, Normalizer, NormalizerWrapper, Tokenizer};

use super::budget::Growth;
use super::charsmap::Charsmap;
use super::contained::contained;
use crate::text::TokenizerError;

/// Maximum length of a text after normalization, in bytes: the library needs about 20 bytes for each.
const LONGEST_TEXT: u64 = 2 << 20;

/// Maximum number of bytes in all pieces of a text together.
const ALL_PIECES: u64 = 8 << 20;

/// Number of bytes normalized at once to measure how long a text becomes.
const SAMPLE: usize = 4 << 10;

/// How much longer a text may become: in the normalizer, and as pieces in the pre-tokenizer.
#[derive(Debug, Clone, Copy, Default)]
pub struct TextGrowth {
    pub normalizer: Growth,
    pub pre_tokenizer: Growth,
}

impl TextGrowth {
    /// Refuses a text that would become too long at any step. A long one is normalized piece by piece to measure its
    /// growth, since few texts grow as much as they could. `charsmap` is a map applied before the library.
    ///
    /// # Errors
    /// [`TokenizerError::TextTooLong`], or [`TokenizerError::Encode`] if the library fails.
    pub fn check(
        &self,
        text: &str,
        charsmap: Option<&Charsmap>,
        library: &Tokenizer,
    ) -> Result<(), TokenizerError> {
        let most = LONGEST_TEXT.min(ALL_PIECES / self.pre_tokenizer.times);
        let whole = text.len() as u64;
        let too_long = |found| Err(TokenizerError::TextTooLong { found, most });
        if whole > most {
            return too_long(whole);
        }
        let Growth { times, added } = self.normalizer;
        if whole.saturating_mul(times).saturating_add(added) <= most {
            return Ok(());
        }
        let mut found = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let end = (0..=SAMPLE.min(rest.len())).rev().find(|&end| rest.is_char_boundary(end));
            let (sample, after) = rest.split_at(end.unwrap_or(rest.len()));
            let mapped = charsmap.map(|charsmap| charsmap.normalize(sample));
            let mut normalized = NormalizedString::from(mapped.as_deref().unwrap_or(sample));
            let mut longest = normalized.get().len();
            if let Some(normalizer) = library.get_normalizer() {
                contained(|| normalize(normalizer, &mut normalized, &mut longest))
                    .map_err(|cause| TokenizerError::Encode { cause })?;
            }
            found += longest as u64;
            if found > most {
                return too_long(found);
            }
            rest = after;
        }
        Ok(())
    }
}

/// Normalizes a text step by step, and notes how long it is at the longest.
fn normalize(
    normalizer: &NormalizerWrapper,
    text: &mut NormalizedString,
    longest: &mut usize,
) -> tokenizers::Result<()> {
    if let NormalizerWrapper::Sequence(steps) = normalizer {
        return steps.as_ref().iter().try_for_each(|step| normalize(step, text, longest));
    }
    normalizer.normalize(text)?;
    *longest = (*longest).max(text.get().len());
    Ok(())
}
