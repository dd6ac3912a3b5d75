//! Finds convolutions that are matrix products: non-overlapping patches of the image, and pointwise ones.

use super::super::pixels::PatchOrder;
use super::super::program::Program;
use super::super::shape::Window;
use super::super::steps::{Conv, Linear, Op, Patches};

/// Turns such convolutions into linear layers.
pub(super) fn run(program: &mut Program) {
    for id in 0..program.nodes.len() {
        let node = &program.nodes[id];
        let Op::Conv(Conv { filters, bias, window, groups: 1, finish }) = &node.op else { continue };
        let Window { kernel, stride, padding } = *window;
        if padding != [0, 0] || stride != kernel {
            continue;
        }
        let linear =
            Op::Linear(Linear { matrix: filters.clone(), bias: bias.clone(), table: None, finish: *finish });
        let source = node.inputs[0];
        if kernel == [1, 1] {
            program.nodes[id].op = linear;
        } else if matches!(program.nodes[source].op, Op::ToRows(_)) {
            let pixels = program.nodes[source].inputs[0];
            let (scope, width) = (node.scope.clone(), filters.inputs);
            let shape = super::super::shape::Shape { width, ..node.shape };
            let patches = program.push(
                Op::Patches(Patches { kernel, leading: 0, order: PatchOrder::ChannelsFirst }),
                vec![pixels],
                shape,
                &scope,
            );
            program.nodes[id].op = linear;
            program.nodes[id].inputs[0] = patches;
        }
    }
}
