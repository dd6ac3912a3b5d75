//! Assigns values to buffers: values that are never alive together share one.

use super::program::Program;
use super::shape::Rows;
use super::steps::Op;

/// Assumed number of rows in a text when matching buffers; only the order of sizes matters.
const USUAL_TEXT: usize = 77;

/// The buffer of each value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slots {
    /// Buffer of each value; inputs have none.
    pub of: Vec<Option<usize>>,
    /// Number of buffers.
    pub count: usize,
}

impl Slots {
    /// Plans buffers in the order of the program.
    pub fn plan(program: &Program) -> Slots {
        let nodes = &program.nodes;
        let mut last = vec![0; nodes.len()];
        for (id, node) in nodes.iter().enumerate() {
            node.inputs.iter().for_each(|&input| last[input] = id);
        }
        last[program.output] = nodes.len();
        let size = |id: usize| {
            let shape = nodes[id].shape;
            let rows = match shape.rows {
                Rows::Fixed(rows) => rows,
                Rows::Text(extra) => USUAL_TEXT + extra,
            };
            rows * shape.width
        };
        let mut of = vec![None; nodes.len()];
        let mut sizes: Vec<usize> = Vec::new();
        let mut free: Vec<usize> = Vec::new();
        for (id, node) in nodes.iter().enumerate() {
            if matches!(node.op, Op::Pixels(_) | Op::TokenIds(_)) {
                continue;
            }
            let dying: Vec<usize> = node.inputs.iter().copied().filter(|&input| last[input] == id).collect();
            let in_place = node.op.operation().in_place();
            let inherited = in_place
                .and_then(|slot| node.inputs.get(slot).copied())
                .filter(|input| dying.contains(input) && nodes[*input].shape.width == node.shape.width)
                .filter(|input| nodes[*input].shape.rows == node.shape.rows)
                // A value that is also another input must not be overwritten.
                .filter(|input| node.inputs.iter().filter(|i| *i == input).count() == 1)
                .and_then(|input| of[input]);
            let slot = inherited.or_else(|| take(&mut free, &sizes, size(id))).unwrap_or_else(|| {
                sizes.push(0);
                sizes.len() - 1
            });
            sizes[slot] = sizes[slot].max(size(id));
            of[id] = Some(slot);
            let mut freed: Vec<usize> = dying.iter().filter_map(|&input| of[input]).collect();
            freed.sort_unstable();
            freed.dedup();
            free.extend(freed.into_iter().filter(|&buffer| buffer != slot));
            if last[id] == 0 {
                // Kept, but unused.
                free.push(slot);
            }
        }
        Slots { of, count: sizes.len() }
    }
}

/// Takes the smallest free buffer that is large enough, otherwise the largest.
fn take(free: &mut Vec<usize>, sizes: &[usize], size: usize) -> Option<usize> {
    let fitting = (0..free.len()).filter(|&i| sizes[free[i]] >= size).min_by_key(|&i| sizes[free[i]]);
    let place = fitting.or_else(|| (0..free.len()).max_by_key(|&i| sizes[free[i]]))?;
    Some(free.swap_remove(place))
}
