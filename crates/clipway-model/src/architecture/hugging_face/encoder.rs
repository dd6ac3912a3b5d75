//! A text encoder from transformers.

use super::super::transformer::Masking;
use crate::graph::{GraphBuilder, GraphError, Mask, ValueId};

/// An encoder whose parameters are declared.
pub(super) trait Encoder {
    /// From token ids to the last hidden state, `[batch, length, width]`.
    fn forward(&self, graph: &mut GraphBuilder<'_>, ids: ValueId) -> Result<ValueId, GraphError>;
}

/// Hides padding, as open_clip does.
pub(super) fn masking(padding: i64, ids: ValueId) -> Masking {
    Masking { mask: Mask::Padding { id: padding, skip: 0, causal: false }, ids: Some(ids) }
}
