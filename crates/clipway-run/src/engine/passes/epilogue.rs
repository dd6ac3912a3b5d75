//! Applies activations and sums to a product while it is still in registers.

use super::super::program::{Id, Program};
use super::super::shape::{Combine, Finish};
use super::super::steps::{Activate, Conv, Linear, Op, Pairwise};

/// Moves activations, residual sums and gates into the products before them.
pub(super) fn run(program: &mut Program) {
    for id in 0..program.nodes.len() {
        // A fused step takes over the uses of the node it replaces.
        let uses = program.uses();
        let inputs = program.nodes[id].inputs.clone();
        match program.nodes[id].op {
            Op::Activate(Activate(activation)) if uses[inputs[0]] == 1 => {
                let Some(finish) = finish(program, inputs[0]) else { continue };
                match finish {
                    Finish { before: place @ None, second: None, after: None }
                    | Finish { second: Some(_), after: place @ None, .. } => *place = Some(activation),
                    _ => continue,
                }
                program.replace(id, inputs[0]);
            }
            Op::Pairwise(Pairwise::Add) => combine(program, id, &uses, Combine::Add),
            Op::Pairwise(Pairwise::Multiply) => combine(program, id, &uses, Combine::Multiply),
            _ => {}
        }
    }
}

/// Fuses a sum or a product of values into the step that produces one of them, preferably the second.
fn combine(program: &mut Program, id: Id, uses: &[usize], combine: Combine) {
    let inputs = program.nodes[id].inputs.clone();
    let fits = |program: &mut Program, product: Id| {
        uses[product] == 1
            && matches!(finish(program, product), Some(Finish { second: None, after: None, .. }))
    };
    let (product, other) = if fits(program, inputs[1]) {
        (inputs[1], inputs[0])
    } else if fits(program, inputs[0]) {
        (inputs[0], inputs[1])
    } else {
        return;
    };
    if let Some(finish) = finish(program, product) {
        finish.second = Some(combine);
    }
    program.nodes[product].inputs.push(other);
    program.replace(id, product);
}

/// The epilogue of a step that computes a product without a table.
fn finish(program: &mut Program, id: Id) -> Option<&mut Finish> {
    match &mut program.nodes[id].op {
        Op::Linear(Linear { table: None, finish, .. }) | Op::Conv(Conv { finish, .. }) => Some(finish),
        _ => None,
    }
}
