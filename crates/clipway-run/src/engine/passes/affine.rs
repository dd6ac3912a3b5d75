//! Batch norms and layer scales are factors of the outputs of the product before them: `s · (Wx + b) + t` is
//! `(sW)x + (sb + t)`. The new weights are computed in f64.

use super::super::program::{Finish, Op, Program};

/// Folds scales into the linear layers and convolutions before them.
pub(super) fn run(program: &mut Program) {
    let uses = program.uses();
    for id in 0..program.nodes.len() {
        let Op::Affine { scale, shift } = program.nodes[id].op.clone() else { continue };
        let source = program.nodes[id].inputs[0];
        if uses[source] != 1 {
            continue;
        }
        let (matrix, bias) = match &mut program.nodes[source].op {
            Op::Linear { matrix, bias, table: None, finish } if *finish == Finish::default() => {
                (matrix, bias)
            }
            Op::Conv { filters, bias, finish, .. } if *finish == Finish::default() => (filters, bias),
            _ => continue,
        };
        *matrix = matrix.clone().scaled(&scale);
        let scaled = bias.take().map(|b| b.times(scale));
        *bias = match (scaled, shift) {
            (Some(scaled), Some(shift)) => Some(scaled.plus(shift)),
            (scaled, shift) => scaled.or(shift),
        };
        program.replace(id, source);
    }
}
