//! Attention masks, and the lengths that they depend on.

use super::emit::Value;
use super::lowering::Lowering;
use super::recipe::Recipe;
use crate::graph::{Dim, Mask};

/// Added to the scores of hidden keys: its exponential is 0 in f32, and f16 can represent it.
const HIDDEN: f64 = -1e4;

impl Lowering<'_> {
    /// What a mask adds to the scores; `None` if it hides nothing.
    pub fn mask(&mut self, mask: Mask, dims: [Dim; 2], ids: Option<&Value>) -> Option<Value> {
        let key = format!("{mask:?} {dims:?}");
        match mask {
            Mask::None => None,
            Mask::Causal => Some(self.shared(key, |this| this.causal(dims))),
            Mask::Padding { id, skip, causal } => {
                let ids = ids.expect("a mask of padding has the ids").clone();
                Some(self.shared(key, |this| {
                    let padding = this.padding(&ids, id, skip);
                    if !causal {
                        return padding;
                    }
                    let later = this.causal(dims);
                    this.emit.node("Add", &[&padding, &later], vec![])
                }))
            }
        }
    }

    /// `[1, 1, queries, keys]`: hides the keys after each query.
    fn causal(&mut self, [queries, keys]: [Dim; 2]) -> Value {
        let [rows, columns] = [queries, keys].map(|dim| self.count(dim).unwrap_or_else(|| self.longest(dim)));
        let hidden = |row| (0..columns).map(move |column| if column > row { HIDDEN } else { 0.0 });
        let values = (0..rows).flat_map(hidden).collect();
        let whole = self.emit.tensor("mask", self.float, &[1, 1, rows, columns], Recipe::Numbers(values));
        let mut mask = whole;
        for (axis, dim) in [(2, queries), (3, keys)] {
            if self.count(dim).is_none() {
                mask = self.first(&mask, &[axis], dim);
            }
        }
        mask
    }

    /// `[1, 1, tokens, tokens]`: hides keys more than `reach` tokens away from each query.
    pub fn window(&mut self, reach: usize, tokens: usize, dim: Dim) -> Value {
        let hidden = |query: usize| {
            (0..tokens).map(move |key: usize| if key.abs_diff(query) > reach { HIDDEN } else { 0.0 })
        };
        let values = (0..tokens).flat_map(hidden).collect();
        let name = format!("window[{reach}]");
        let whole = self.emit.tensor(&name, self.float, &[1, 1, tokens, tokens], Recipe::Numbers(values));
        match self.count(dim) {
            Some(_) => whole,
            None => self.first(&whole, &[2, 3], dim),
        }
    }

    /// `[batch, 1, 1, keys]`: hides padding keys.
    fn padding(&mut self, ids: &Value, id: i64, skip: usize) -> Value {
        let is_padding = self.equal(ids, id);
        let hidden = self.emit.scalar(HIDDEN, self.float);
        let seen = self.emit.scalar(0.0, self.float);
        let mut mask = self.emit.typed("Where", &[&is_padding, &hidden, &seen], vec![], self.float);
        if skip > 0 {
            let pads = self.emit.integers(&[0, skip as i64, 0, 0]);
            mask = self.emit.node("Pad", &[&mask, &pads, &seen], vec![]);
        }
        let axes = self.emit.integers(&[1, 2]);
        self.emit.node("Unsqueeze", &[&mask, &axes], vec![])
    }

    /// The first tokens of a table along axes, as many as a dimension has.
    pub fn first(&mut self, value: &Value, axes: &[i64], dim: Dim) -> Value {
        let length = self.length_of(dim);
        let end = match axes.len() {
            1 => length,
            _ => self.emit.concatenate(&vec![&length; axes.len()], 0),
        };
        let start = self.emit.integers(&vec![0; axes.len()]);
        let axes = self.emit.integers(axes);
        self.emit.node("Slice", &[value, &start, &end, &axes], vec![])
    }

    /// Maximum number of tokens of a dimension.
    pub fn longest(&self, dim: Dim) -> usize {
        match dim {
            Dim::Fixed(tokens) => tokens,
            Dim::Length(extra) => self.most + extra,
            Dim::Batch => unreachable!("the batch is not counted in tokens"),
        }
    }

    /// The number of tokens, as a list of one integer.
    fn length_of(&mut self, dim: Dim) -> Value {
        let Dim::Length(extra) = dim else {
            return self.emit.integers(&[self.longest(dim) as i64]);
        };
        self.shared(format!("{dim} of the ids"), |this| {
            let shape = this.root_shape();
            let length = this.emit.slice(&shape, 0, 1, 2);
            match extra {
                0 => length,
                _ => {
                    let extra = this.emit.integers(&[extra as i64]);
                    this.emit.node("Add", &[&length, &extra], vec![])
                }
            }
        })
    }

    /// The shape of the input, computed once.
    pub fn root_shape(&mut self) -> Value {
        self.shared("shape of the input".to_owned(), |this| {
            let root = this.root.clone().expect("the input is the first operation");
            this.emit.typed("Shape", &[&root], vec![], clipway_formats::Dtype::I64)
        })
    }
}
