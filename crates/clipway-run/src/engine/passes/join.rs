//! Joins linear layers that compute an attention's queries, keys and values from the same input.

use super::super::program::{Id, Program};
use super::super::recipe::{Matrix, Vector};
use super::super::shape::{Finish, Shape};
use super::super::steps::{Attention, Linear, Op};

/// Joins such layers; the attention then reads columns of one value.
pub(super) fn run(program: &mut Program) {
    let uses = program.uses();
    for id in 0..program.nodes.len() {
        let Op::Attention(Attention { columns: [0, 0, 0], .. }) = program.nodes[id].op else { continue };
        let inputs = program.nodes[id].inputs.clone();
        let layers: Vec<Id> =
            inputs.iter().copied().filter(|&i| uses[i] == 1 && is_plain(program, i)).collect();
        // Queries with their own input stay separate: keys and values come last.
        let source = |layer: Id| program.nodes[layer].inputs[0];
        let Some(&last) = layers.last() else { continue };
        let group: Vec<Id> = layers.into_iter().filter(|&layer| source(layer) == source(last)).collect();
        if group.len() < 2 {
            continue;
        }
        let shape = program.nodes[last].shape;
        let width = group.iter().map(|&layer| program.nodes[layer].shape.width).sum();
        let scope = program.nodes[last].scope.clone();
        let joined =
            program.push(join(program, &group), vec![source(last)], Shape { width, ..shape }, &scope);
        let mut offset = 0;
        let mut places = [0; 3];
        for layer in group {
            let slot = inputs.iter().position(|&input| input == layer).expect("the layer is an input");
            places[slot] = offset;
            offset += program.nodes[layer].shape.width;
            program.nodes[id].inputs[slot] = joined;
        }
        if let Op::Attention(Attention { columns, .. }) = &mut program.nodes[id].op {
            *columns = places;
        }
    }
}

fn is_plain(program: &Program, id: Id) -> bool {
    matches!(&program.nodes[id].op, Op::Linear(Linear { table: None, finish, .. }) if *finish == Finish::default())
}

/// One linear layer with the outputs of several.
fn join(program: &Program, group: &[Id]) -> Op {
    let mut blocks = Vec::new();
    let mut biases = Vec::new();
    let mut any = false;
    let mut width = 0;
    for &layer in group {
        if let Op::Linear(Linear { matrix, bias, .. }) = &program.nodes[layer].op {
            width = matrix.inputs;
            blocks.extend(matrix.blocks.iter().cloned());
            any |= bias.is_some();
            biases.push(bias.clone().unwrap_or(Vector::Constant(0.0, matrix.outputs())));
        }
    }
    let bias = any.then_some(Vector::Joined(biases));
    Op::Linear(Linear {
        matrix: Matrix { inputs: width, blocks },
        bias,
        table: None,
        finish: Finish::default(),
    })
}
