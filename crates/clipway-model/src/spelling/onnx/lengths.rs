//! What a text tower's features depend on besides the text: its padding, and the number of tokens.

use crate::graph::{Graph, Mask, Operation, Pool};

/// Whether the ids after a text's end change its features.
pub(super) fn reads_padding(tower: &Graph) -> bool {
    tower.nodes.iter().any(|node| match node.operation {
        Operation::Attention { mask, .. } => mask != Mask::Causal,
        Operation::Pool(pool) => !matches!(pool, Pool::First | Pool::Argmax | Pool::Eos(_)),
        Operation::Conv2d { .. } | Operation::AddTextPositions { .. } => true,
        _ => false,
    })
}

/// Whether the features of a text change with the number of tokens that it is padded to.
pub(super) fn needs_context(tower: &Graph) -> bool {
    tower.nodes.iter().any(|node| match node.operation {
        Operation::Attention { mask, .. } => mask == Mask::None,
        Operation::Pool(pool) => !(pool == Pool::First || pool.looks_at_ids()),
        // The token stands behind the context, and has a position of its own there.
        Operation::Conv2d { .. } | Operation::AppendToken { .. } => true,
        _ => false,
    })
}
