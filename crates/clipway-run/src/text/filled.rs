//! What a tokenizer reports about a row of ids.

use std::ops::Range;

/// A filled row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filled {
    /// Whether the text was truncated.
    pub truncated: bool,
    /// Where the ids are that are not padding.
    pub tokens: Range<usize>,
}
