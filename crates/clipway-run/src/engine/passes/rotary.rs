//! Rotates queries and keys as the attention reads them.

use clipway_model::graph::Mask;

use super::super::program::Program;
use super::super::steps::{Attention, Op, Rotary};

/// Makes rotations part of their attentions.
pub(super) fn run(program: &mut Program) {
    let uses = program.uses();
    for id in 0..program.nodes.len() {
        let inputs = program.nodes[id].inputs.clone();
        let Op::Attention(Attention { heads, mask: Mask::None, rotation: None, columns: [0, 0, _], .. }) =
            program.nodes[id].op
        else {
            continue;
        };
        let turned = [inputs[0], inputs[1]].map(|input| match program.nodes[input].op {
            Op::Rotary(Rotary { heads: own, rotation }) if own == heads && uses[input] == 1 => Some(rotation),
            _ => None,
        });
        let [Some(rotation), Some(other)] = turned else { continue };
        if rotation != other {
            continue;
        }
        for (slot, &input) in inputs[..2].iter().enumerate() {
            program.nodes[id].inputs[slot] = program.nodes[input].inputs[0];
        }
        if let Op::Attention(Attention { rotation: place, .. }) = &mut program.nodes[id].op {
            *place = Some(rotation);
        }
    }
}
