//! Merges parallel convolutions of one input: filters with the same stride and groups add up, centered in the larger
//! kernel, and the input itself, scaled or not, is a filter with kernel 1. So a model with its training branches does
//! no more work than a folded one. The new filters are computed in f64.

use super::super::program::{Id, Program};
use super::super::recipe::{Filters, Matrix, Vector};
use super::super::shape::{Finish, Window};
use super::super::steps::{Affine, Conv, Op, Pairwise};
use super::affine;

/// A convolution that keeps places where they are: its kernel's center is the output's place.
struct Centerd {
    source: Id,
    filters: Matrix,
    bias: Option<Vector>,
    window: Window,
    groups: usize,
}

/// What can be added to a convolution's filters.
enum Branch {
    Conv(Centerd),
    /// The input, with factors and offset.
    Scaled(Vector, Option<Vector>),
}

/// Adds up branches, and folds the scales of their sums.
pub(super) fn run(program: &mut Program) {
    for id in 0..program.nodes.len() {
        let uses = program.uses();
        affine::fold(program, id, &uses);
        merge(program, id, &uses);
    }
}

/// Merges a sum or difference of two branches into one convolution, if possible.
fn merge(program: &mut Program, id: Id, uses: &[usize]) {
    let negative = match program.nodes[id].op {
        Op::Pairwise(Pairwise::Add) => false,
        Op::Pairwise(Pairwise::Subtract) => true,
        _ => return,
    };
    let [first, second] = program.nodes[id].inputs[..] else { return };
    for (base, other, signs) in [(first, second, [false, negative]), (second, first, [negative, false])] {
        let Some(convolution) = centered(program, base, uses) else { continue };
        let Some(branch) = branch(program, other, &convolution, uses) else { continue };
        let (filters, bias) = add(convolution, branch, signs);
        if let Op::Conv(Conv { filters: place, bias: bias_place, .. }) = &mut program.nodes[base].op {
            *place = filters;
            *bias_place = bias;
        }
        program.replace(id, base);
        return;
    }
}

fn centered(program: &Program, id: Id, uses: &[usize]) -> Option<Centerd> {
    let node = &program.nodes[id];
    let Op::Conv(Conv { filters, bias, window, groups, finish }) = &node.op else { return None };
    let middle = |axis: usize| window.kernel[axis] == 2 * window.padding[axis] + 1;
    let fits = uses[id] == 1 && *finish == Finish::default() && middle(0) && middle(1);
    let whole = matches!(&filters.blocks[..], [_]);
    let (filters, bias) = (filters.clone(), bias.clone());
    (fits && whole).then(|| Centerd {
        source: node.inputs[0],
        filters,
        bias,
        window: *window,
        groups: *groups,
    })
}

/// A value as a branch parallel to a convolution, if it is one.
fn branch(program: &Program, id: Id, base: &Centerd, uses: &[usize]) -> Option<Branch> {
    let outputs = base.filters.outputs();
    let keeps_shape = base.window.stride == [1, 1] && program.nodes[base.source].shape.width == outputs;
    if id == base.source {
        let ones = Vector::Constant(1.0, outputs);
        return keeps_shape.then_some(Branch::Scaled(ones, None));
    }
    if let Op::Affine(Affine { scale, shift }) = &program.nodes[id].op {
        let fits = keeps_shape && uses[id] == 1 && program.nodes[id].inputs[0] == base.source;
        return fits.then(|| Branch::Scaled(scale.clone(), shift.clone()));
    }
    let other = centered(program, id, uses)?;
    let smaller = (0..2).all(|axis| other.window.kernel[axis] <= base.window.kernel[axis]);
    let same = other.source == base.source
        && other.groups == base.groups
        && other.window.stride == base.window.stride
        && other.filters.outputs() == outputs;
    (same && smaller).then_some(Branch::Conv(other))
}

/// The sum of a convolution and a branch, each with a sign: `true` for minus.
fn add(base: Centerd, branch: Branch, [base_sign, branch_sign]: [bool; 2]) -> (Matrix, Option<Vector>) {
    let count = base.filters.outputs();
    let sign = |negative: bool| Vector::Constant(if negative { -1.0 } else { 1.0 }, count);
    let signed = |vector: Vector, negative: bool| if negative { vector.times(sign(true)) } else { vector };
    let within = base.window.kernel;
    let mut filters = base.filters;
    if base_sign {
        filters = filters.scaled(&sign(true));
    }
    let bias = base.bias.map(|bias| signed(bias, base_sign));
    let added = match branch {
        Branch::Scaled(scale, shift) => {
            filters = filters.plus(within, Filters::Unit, &signed(scale, branch_sign));
            shift
        }
        Branch::Conv(other) => {
            for block in other.filters.blocks {
                let own = Filters::Parameter(block.parameter, other.window.kernel);
                let factors = block.factors.unwrap_or(sign(false));
                filters = filters.plus(within, own, &signed(factors, branch_sign));
                for addend in block.addends {
                    filters = filters.plus(within, addend.filters, &signed(addend.factors, branch_sign));
                }
            }
            other.bias
        }
    };
    (filters, Vector::sum(bias, added.map(|added| signed(added, branch_sign))))
}
