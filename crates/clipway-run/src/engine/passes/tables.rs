//! Merges what is added equally to each sample into one table: class and register tokens, positions and the patch bias
//! are added to the patch product; a text's positions are added when the embedding is read.

use super::super::program::{Id, Program};
use super::super::shape::Rows;
use super::super::steps::{AddTable, Embedding, Linear, Op, Patches, Prepend};

/// Fuses positions and leading tokens with what produces the tokens.
pub(super) fn run(program: &mut Program) {
    for id in 0..program.nodes.len() {
        match program.nodes[id].op {
            Op::AddTable(_) => positions(program, id),
            Op::Prepend(_) => leading(program, id),
            _ => {}
        }
    }
}

/// A text's positions go into the embedding; those of patches become their product's table, with the tokens before
/// them.
fn positions(program: &mut Program, id: Id) {
    let uses = program.uses();
    let Op::AddTable(AddTable(mut table)) = program.nodes[id].op.clone() else { return };
    let mut source = program.nodes[id].inputs[0];
    if let (1, Op::Embedding(Embedding { positions: positions @ None, .. })) =
        (uses[source], &mut program.nodes[source].op)
    {
        *positions = Some(table.positions);
        return program.replace(id, source);
    }
    while let (1, Op::Prepend(Prepend(token))) = (uses[source], &program.nodes[source].op) {
        table.leading.push(*token);
        source = program.nodes[source].inputs[0];
    }
    let Some(patches) = patches_of(program, &uses, source) else { return };
    let Op::Linear(Linear { bias, table: place @ None, finish, .. }) = &mut program.nodes[source].op else {
        return;
    };
    if *finish != Default::default() {
        return;
    }
    table.bias = bias.take();
    *place = Some(table);
    take_over(program, id, source, patches);
}

/// Tokens before the patches that have positions already.
fn leading(program: &mut Program, id: Id) {
    let uses = program.uses();
    let Op::Prepend(Prepend(token)) = program.nodes[id].op else { return };
    let source = program.nodes[id].inputs[0];
    let Some(patches) = patches_of(program, &uses, source) else { return };
    let Op::Linear(Linear { table: Some(table), .. }) = &mut program.nodes[source].op else { return };
    if table.leading_have_positions && !table.leading.is_empty() {
        return;
    }
    table.leading_have_positions = false;
    table.leading.insert(0, token);
    take_over(program, id, source, patches);
}

/// The patches whose product a value is, if nothing else uses either.
fn patches_of(program: &Program, uses: &[usize], product: Id) -> Option<Id> {
    let Op::Linear(_) = program.nodes[product].op else { return None };
    let patches = program.nodes[product].inputs[0];
    let alone = uses[product] == 1 && uses[patches] == 1;
    (alone && matches!(program.nodes[patches].op, Op::Patches(_))).then_some(patches)
}

/// Gives the product the shape of the node that is now part of it: its leading rows come from zero rows.
fn take_over(program: &mut Program, id: Id, product: Id, patches: Id) {
    let shape = program.nodes[id].shape;
    let (Rows::Fixed(wanted), Rows::Fixed(there)) = (shape.rows, program.nodes[patches].shape.rows) else {
        return;
    };
    if let Op::Patches(Patches { leading, .. }) = &mut program.nodes[patches].op {
        *leading += wanted - there;
    }
    program.nodes[patches].shape.rows = shape.rows;
    program.nodes[product].shape = shape;
    program.replace(id, product);
}
