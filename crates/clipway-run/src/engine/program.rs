//! The engine's own form of a tower: values are rows of channels, and one step may do several operations.
//!
//! A sequence `[batch, tokens, width]` and a map `[batch, channels, height, width]` are both rows: one row of channels
//! per token or place, sample after sample. So flattening a map costs nothing, and texts of different lengths are
//! stored one after the other without padding.

use super::shape::{Cut, Shape};
use super::steps::Op;

/// Index of a node and its value.
pub(super) type Id = usize;

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub op: Op,
    pub inputs: Vec<Id>,
    pub shape: Shape,
    /// Module, for messages.
    pub scope: String,
}

/// A tower in the engine's form.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Program {
    pub nodes: Vec<Node>,
    pub output: Id,
    /// Values that the caller wants besides the output, by name.
    pub kept: Vec<(String, Id)>,
    /// Where texts are cut.
    pub cut: Option<Cut>,
}

impl Program {
    /// Appends a node.
    pub fn push(&mut self, op: impl Into<Op>, inputs: Vec<Id>, shape: Shape, scope: &str) -> Id {
        self.nodes.push(Node { op: op.into(), inputs, shape, scope: scope.to_owned() });
        self.nodes.len() - 1
    }

    /// Number of uses of each value; the output and kept values have one more.
    pub fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.nodes.len()];
        for node in &self.nodes {
            node.inputs.iter().for_each(|&input| uses[input] += 1);
        }
        uses[self.output] += 1;
        self.kept.iter().for_each(|(_, id)| uses[*id] += 1);
        uses
    }

    /// Makes every user of `from` use `to`; then nothing uses `from`, and it uses nothing.
    ///
    /// If `from` is a map and `to` the same rows as a sequence, `to` becomes that map.
    pub fn replace(&mut self, from: Id, to: Id) {
        self.nodes[from].inputs.clear();
        let Shape { rows, map, .. } = self.nodes[from].shape;
        let shape = &mut self.nodes[to].shape;
        if shape.map.is_none() && shape.rows == rows {
            shape.map = map;
        }
        for node in &mut self.nodes {
            node.inputs.iter_mut().filter(|i| **i == from).for_each(|i| *i = to);
        }
        for target in self.kept.iter_mut().map(|(_, id)| id).chain([&mut self.output]) {
            if *target == from {
                *target = to;
            }
        }
    }

    /// Drops unused nodes and sorts the rest into an order of computation.
    pub fn tidy(&mut self) {
        let mut order: Vec<Id> = Vec::with_capacity(self.nodes.len());
        let mut seen = vec![false; self.nodes.len()];
        let roots = self.kept.iter().map(|(_, id)| *id).chain([self.output]);
        for root in roots {
            let mut stack = vec![(root, 0)];
            while let Some((id, next)) = stack.pop() {
                if next == 0 && std::mem::replace(&mut seen[id], true) {
                    continue;
                }
                match self.nodes[id].inputs.get(next) {
                    Some(&input) => stack.extend([(id, next + 1), (input, 0)]),
                    None => order.push(id),
                }
            }
        }
        let mut place = vec![usize::MAX; self.nodes.len()];
        order.iter().enumerate().for_each(|(new, &old)| place[old] = new);
        let mut old: Vec<Option<Node>> = self.nodes.drain(..).map(Some).collect();
        for id in order {
            let mut node = old[id].take().expect("a value is placed once");
            node.inputs.iter_mut().for_each(|i| *i = place[*i]);
            self.nodes.push(node);
        }
        self.kept.iter_mut().for_each(|(_, id)| *id = place[*id]);
        self.output = place[self.output];
    }
}
