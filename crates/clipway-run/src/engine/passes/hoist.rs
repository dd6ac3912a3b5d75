//! Computes only pooled rows where nothing else is used.
//!
//! A pool that selects one row of each sample needs only that row of its input; so does, in turn, every row-wise step,
//! up to the queries of an attention. Keys and values are needed in full.

use clipway_model::graph::{Demand, Mask};

use super::super::program::{Id, Node, Program};
use super::super::shape::{Cut, Rows, Select, Shape};
use super::super::steps::{Attention, Linear, Op};

/// Moves pools up to the last attention.
pub(super) fn run(program: &mut Program) {
    split_packed(program);
    program.tidy();
    let demands = demands(program);
    let mut selected: Vec<(Id, Select, Id)> = Vec::new();
    for id in 0..demands.len() {
        if let Op::Select(select) = program.nodes[id].op {
            let input = program.nodes[id].inputs[0];
            if demands[input] == Demand::Pooled(select) {
                program.replace(id, input);
            }
            continue;
        }
        let Demand::Pooled(select) = demands[id] else { continue };
        program.nodes[id].shape = single_row(program.nodes[id].shape);
        let slots = match &mut program.nodes[id].op {
            Op::Attention(Attention { mask, .. }) => {
                // The pooled row is the last of the keys, so a causal mask hides nothing from it.
                *mask = match *mask {
                    Mask::None | Mask::Causal => Mask::None,
                    Mask::Padding { id, skip, .. } => Mask::Padding { id, skip, causal: false },
                };
                1
            }
            _ => program.nodes[id].inputs.len(),
        };
        for slot in 0..slots {
            let input = program.nodes[id].inputs[slot];
            if demands[input] == Demand::All {
                let found = selected.iter().find(|(value, by, _)| (*value, *by) == (input, select));
                let place = found.map(|(_, _, place)| *place).unwrap_or_else(|| {
                    let Node { shape, scope, .. } = program.nodes[input].clone();
                    let place = program.push(Op::Select(select), vec![input], single_row(shape), &scope);
                    selected.push((input, select, place));
                    place
                });
                program.nodes[id].inputs[slot] = place;
            }
        }
    }
}

fn single_row(shape: Shape) -> Shape {
    Shape { rows: Rows::Fixed(1), map: None, ..shape }
}

/// Which rows of each value are used.
fn demands(program: &Program) -> Vec<Demand<Select>> {
    let mut demands = vec![Demand::Nothing; program.nodes.len()];
    demands[program.output] = Demand::All;
    program.kept.iter().for_each(|(_, id)| demands[*id] = Demand::All);
    for (id, node) in program.nodes.iter().enumerate().rev() {
        if matches!(demands[id], Demand::Pooled(select) if !can_pool(program, &node.op, select)) {
            demands[id] = Demand::All;
        }
        for (slot, &input) in node.inputs.iter().enumerate() {
            let demand = match (&node.op, demands[id]) {
                (Op::Select(select), _) => Demand::Pooled(*select),
                (Op::Attention(_), pooled) if slot == 0 => pooled,
                (op, pooled) if op.operation().is_row_wise() => pooled,
                _ => Demand::All,
            };
            demands[input].join(demand);
        }
    }
    demands
}

/// Whether a step can compute only the pooled rows.
fn can_pool(program: &Program, op: &Op, select: Select) -> bool {
    let last = select == Select::Last
        || program.cut.is_some_and(|cut| matches!((cut, select), (Cut::Pooled(a), Select::Ids(b)) if a == b));
    match op {
        // A rotation depends on the query's position; only the first one is known.
        Op::Attention(Attention { rotation: Some(_), .. }) if select != Select::First => false,
        // A bias depends on the query's position; the one chosen by ids differs from text to text.
        Op::Attention(Attention { bias: Some(_), .. }) if select != Select::First => false,
        Op::Attention(Attention { mask: Mask::None | Mask::Padding { causal: false, .. }, .. }) => true,
        Op::Attention(Attention { mask: Mask::Causal | Mask::Padding { causal: true, .. }, .. }) => last,
        op => op.operation().is_row_wise(),
    }
}

/// Gives attentions with reduced queries a separate value for them.
fn split_packed(program: &mut Program) {
    let demands = demands(program);
    let uses = program.uses();
    for (id, demand) in demands.into_iter().enumerate() {
        let (Op::Attention(Attention { columns, .. }), Demand::Pooled(_)) = (&program.nodes[id].op, demand)
        else {
            continue;
        };
        let (columns, width) = (*columns, program.nodes[id].shape.width);
        let packed = program.nodes[id].inputs[0];
        if program.nodes[id].inputs != [packed; 3] || columns != [0, width, 2 * width] || uses[packed] != 3 {
            continue;
        }
        let node = program.nodes[packed].clone();
        let Op::Linear(Linear { matrix, bias, table: None, finish }) = &node.op else { continue };
        let mut part = |range: std::ops::Range<usize>| {
            let op = Op::Linear(Linear {
                matrix: matrix.part(range.clone()),
                bias: bias.clone().map(|b| b.part(range.clone())),
                table: None,
                finish: *finish,
            });
            let shape = Shape { width: range.len(), ..node.shape };
            program.push(op, node.inputs.clone(), shape, &node.scope)
        };
        let queries = part(0..width);
        let rest = part(width..3 * width);
        program.nodes[id].inputs = vec![queries, rest, rest];
        if let Op::Attention(Attention { columns, .. }) = &mut program.nodes[id].op {
            *columns = [0, 0, width];
        }
    }
}
