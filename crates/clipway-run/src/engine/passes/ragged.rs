//! Under a causal mask no token sees a later one, so nothing after a text's pooled token can change its feature.
//!
//! Where every step of a text tower treats tokens one by one or attends causally, and the only token that leaves
//! is the one that the ids choose, each text ends at that token.

use clipway_model::graph::Mask;

use super::super::program::{Op, Program, Rows, Select};

/// Cuts texts after the pooled token, where that is exact.
pub(super) fn run(program: &mut Program) {
    let is_text = |id: usize| matches!(program.nodes[id].shape.rows, Rows::Text(_));
    if is_text(program.output) || program.kept.iter().any(|(_, id)| is_text(*id)) {
        return;
    }
    let mut cut = None;
    for node in &program.nodes {
        if !node.inputs.iter().any(|&input| is_text(input)) {
            continue;
        }
        let fits = match &node.op {
            Op::Select(Select::First) => true,
            Op::Select(Select::Ids(pool)) => *cut.get_or_insert(*pool) == *pool,
            Op::Attention { mask: Mask::Causal, .. } => node.inputs.iter().all(|&input| is_text(input)),
            Op::Embedding { .. } | Op::AddTable(_) => true,
            op => op.is_row_wise(),
        };
        if !fits {
            return;
        }
    }
    program.cut = cut;
}
