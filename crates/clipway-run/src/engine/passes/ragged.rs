//! Under a causal mask, no token sees a later one, so nothing after a text's pooled token can change its feature. Under
//! a padding mask, nothing after the last token that is not padding can.
//!
//! If every step of a text tower works token by token or attends under such a mask, and the result is only the token
//! chosen by the ids, the first one, the mean of those that are not padding, or what queries find among these, each text
//! ends there. Tokens before the text change nothing.

use clipway_model::graph::Mask;

use super::super::program::Program;
use super::super::shape::{Cut, Rows, Select};
use super::super::steps::{Attention, Op, PoolUnpadded};

/// Cuts texts after what is pooled, where that is exact.
pub(super) fn run(program: &mut Program) {
    let is_text = |id: usize| matches!(program.nodes[id].shape.rows, Rows::Text(_));
    if is_text(program.output) || program.kept.iter().any(|(_, id)| is_text(*id)) {
        return;
    }
    let mut cut: Option<Cut> = None;
    let mut agrees = |wanted: Cut| *cut.get_or_insert(wanted) == wanted;
    for node in &program.nodes {
        if !node.inputs.iter().any(|&input| is_text(input)) {
            continue;
        }
        let fits = match &node.op {
            Op::Select(Select::First) => true,
            Op::Select(Select::Ids(pool)) => agrees(Cut::Pooled(*pool)),
            Op::PoolUnpadded(PoolUnpadded { padding, .. }) => agrees(Cut::Padding(*padding)),
            Op::Attention(Attention { mask: Mask::Causal, .. }) => {
                node.inputs.iter().all(|&input| is_text(input))
            }
            Op::Attention(Attention { mask: Mask::Padding { id, skip, causal: false }, .. }) => {
                let [_, key, value] = node.inputs[..] else { return };
                // All keys are the text's tokens, and `skip` ones before them.
                let rows = [key, value].map(|input| program.nodes[input].shape.rows);
                rows == [Rows::Text(*skip); 2] && agrees(Cut::Padding(*id))
            }
            Op::Embedding(_) | Op::AddTable(_) | Op::AddTextPositions(_) | Op::Rotary(_) => true,
            Op::Prepend(_) | Op::DropRows(_) | Op::Queries(_) => true,
            op => op.operation().is_row_wise(),
        };
        if !fits {
            return;
        }
    }
    program.cut = cut;
}
