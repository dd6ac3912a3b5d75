//! Folds batch norms and layer scales into the product before them: `s · (Wx + b) + t` equals `(sW)x + (sb + t)`. The
//! new weights are computed in f64.

use super::super::program::{Id, Program};
use super::super::recipe::Vector;
use super::super::shape::Finish;
use super::super::steps::{Affine, Conv, Linear, Op};

/// Folds scales into the linear layers and convolutions before them.
pub(super) fn run(program: &mut Program) {
    let uses = program.uses();
    for id in 0..program.nodes.len() {
        fold(program, id, &uses);
    }
}

/// Folds a scale into the product before it, if nothing else uses that product.
pub(super) fn fold(program: &mut Program, id: Id, uses: &[usize]) {
    let Op::Affine(Affine { scale, shift }) = program.nodes[id].op.clone() else { return };
    let [source] = program.nodes[id].inputs[..] else { return };
    if uses[source] != 1 {
        return;
    }
    let (matrix, bias) = match &mut program.nodes[source].op {
        Op::Linear(Linear { matrix, bias, table: None, finish }) if *finish == Finish::default() => {
            (matrix, bias)
        }
        Op::Conv(Conv { filters, bias, finish, .. }) if *finish == Finish::default() => (filters, bias),
        _ => return,
    };
    *matrix = matrix.clone().scaled(&scale);
    let scaled = bias.take().map(|b| b.times(scale));
    *bias = Vector::sum(scaled, shift);
    program.replace(id, source);
}
