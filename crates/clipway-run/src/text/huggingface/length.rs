//! Truncation and padding settings of a `tokenizer.json`. They are not used here, but others who load the file use
//! them.

use super::json::Node;
use crate::text::TokenizerError;

/// Maximum length of a row of ids: that of the longest context.
const LONGEST_ROW: u64 = 1 << 20;

/// Checks the file's truncation and padding settings.
///
/// # Errors
/// [`TokenizerError::File`] with the key of the problem.
pub fn check(root: &Node) -> Result<(), TokenizerError> {
    if let Some(truncation) = root.get("truncation")? {
        truncation.only(&["direction", "max_length", "strategy", "stride"])?;
        let longest = truncation.need("max_length")?.number(0, LONGEST_ROW)?;
        if let Some(stride) = truncation.get("stride")? {
            // Completely overlapping rows would never end.
            stride.number(0, longest.saturating_sub(1))?;
        }
    }
    if let Some(padding) = root.get("padding")? {
        padding.only(&[
            "strategy",
            "direction",
            "pad_to_multiple_of",
            "pad_id",
            "pad_type_id",
            "pad_token",
        ])?;
        let strategy = padding.need("strategy")?;
        if strategy.value.is_object() {
            strategy.only(&["Fixed"])?;
            strategy.need("Fixed")?.number(0, LONGEST_ROW)?;
        }
        padding.get("pad_to_multiple_of")?.map(|multiple| multiple.number(1, LONGEST_ROW)).transpose()?;
    }
    Ok(())
}
