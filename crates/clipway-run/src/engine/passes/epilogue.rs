//! Activations and sums are done to a product while it is still in registers.

use super::super::program::{Finish, Id, Op, Program};

/// Moves activations and residual sums into the products before them.
pub(super) fn run(program: &mut Program) {
    for id in 0..program.nodes.len() {
        // A fused step takes over the uses of the node it replaces.
        let uses = program.uses();
        let inputs = program.nodes[id].inputs.clone();
        match program.nodes[id].op {
            Op::Activation(activation) if uses[inputs[0]] == 1 => {
                let Some(finish) = finish(program, inputs[0]) else { continue };
                match finish {
                    Finish { before: place @ None, residual: false, after: None }
                    | Finish { residual: true, after: place @ None, .. } => *place = Some(activation),
                    _ => continue,
                }
                program.replace(id, inputs[0]);
            }
            Op::Add => {
                let fits = |program: &mut Program, product: Id| {
                    uses[product] == 1
                        && matches!(
                            finish(program, product),
                            Some(Finish { residual: false, after: None, .. })
                        )
                };
                let (product, other) = if fits(program, inputs[1]) {
                    (inputs[1], inputs[0])
                } else if fits(program, inputs[0]) {
                    (inputs[0], inputs[1])
                } else {
                    continue;
                };
                if let Some(finish) = finish(program, product) {
                    finish.residual = true;
                }
                program.nodes[product].inputs.push(other);
                program.replace(id, product);
            }
            _ => {}
        }
    }
}

/// What is done to the product of a step, if it is one without a table.
fn finish(program: &mut Program, id: Id) -> Option<&mut Finish> {
    match &mut program.nodes[id].op {
        Op::Linear { table: None, finish, .. } | Op::Conv { finish, .. } => Some(finish),
        _ => None,
    }
}
