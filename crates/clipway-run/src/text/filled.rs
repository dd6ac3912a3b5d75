//! What a tokenizer says of a row of ids that it filled.

use std::ops::Range;

/// A row that was filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filled {
    /// Whether the text lost tokens.
    pub truncated: bool,
    /// Where the ids are that are no padding.
    pub tokens: Range<usize>,
}
