//! What is added to each sample alike is one table: the class token, the positions and the bias of the patches
//! become what the patch product is added to; the positions of texts are added as the embedding is read.

use super::super::program::{Op, Program};

/// Fuses positions with what makes the tokens.
pub(super) fn run(program: &mut Program) {
    let uses = program.uses();
    for id in 0..program.nodes.len() {
        let Op::AddTable(mut table) = program.nodes[id].op.clone() else { continue };
        let mut source = program.nodes[id].inputs[0];
        if uses[source] != 1 {
            continue;
        }
        if let Op::Embedding { positions: positions @ None, .. } = &mut program.nodes[source].op {
            *positions = Some(table.positions);
            program.replace(id, source);
            continue;
        }
        let mut leading = 0;
        if let Op::Prepend(token) = program.nodes[source].op {
            table.token = Some(token);
            leading = 1;
            source = program.nodes[source].inputs[0];
        }
        if uses[source] != 1 {
            continue;
        }
        let Op::Linear { .. } = program.nodes[source].op else { continue };
        let patches = program.nodes[source].inputs[0];
        let (1, Op::Patches { kernel, leading: 0 }) = (uses[patches], program.nodes[patches].op.clone())
        else {
            continue;
        };
        let shape = program.nodes[id].shape;
        if let Op::Linear { bias, table: place @ None, finish, .. } = &mut program.nodes[source].op {
            if *finish != Default::default() {
                continue;
            }
            table.bias = bias.take();
            *place = Some(table);
        }
        program.nodes[patches].op = Op::Patches { kernel, leading };
        program.nodes[patches].shape.rows = shape.rows;
        program.nodes[source].shape = shape;
        program.replace(id, source);
    }
}
