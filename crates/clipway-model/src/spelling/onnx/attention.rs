//! Attention, and the rotation of its queries and keys.

use clipway_formats::OnnxAttribute;

use super::emit::Value;
use super::lowering::{Lowering, fixed};
use super::recipe::Recipe;
use crate::graph::{AttentionBias, Dim, Mask, Node, Pairs, Pool, Rotation};

/// Settings of an attention.
#[derive(Clone, Copy)]
pub(super) struct Attention {
    pub heads: usize,
    /// Factor applied to the queries, unless their weights include it.
    pub factor: Option<f64>,
    pub mask: Mask,
    pub bias: Option<AttentionBias>,
}

impl Lowering<'_> {
    /// Attends: from one value with queries, keys and values, or from three.
    pub fn attention(&mut self, index: usize, inputs: &[Value], attention: Attention) -> Value {
        let node = &self.tower.nodes[index];
        let Attention { heads, factor, mask, bias } = attention;
        let looks_at_ids = matches!(mask, Mask::Padding { .. });
        let sources = &inputs[..inputs.len() - usize::from(looks_at_ids)];
        let ids = inputs.last().filter(|_| looks_at_ids);
        let [queries, keys] = [0, sources.len().min(2) - 1].map(|index| {
            let source = node.inputs[index];
            self.tokens_of(source)
        });
        let pool = self.narrow.pools[index];
        let apart = self.queries.get(&node.inputs[0].index()).cloned();
        let [q, k, v] = match (sources, apart) {
            ([packed], Some(q)) => {
                let [k, v] = self.split(packed);
                [q, k, v]
            }
            ([packed], None) => {
                let [q, k, v] = self.split(packed);
                [pool.map_or_else(|| q.clone(), |pool| self.selected(&q, pool)), k, v]
            }
            ([q, k, v], _) => [q.clone(), k.clone(), v.clone()],
            (other, _) => unreachable!("an attention of {} values", other.len()),
        };
        let mask = match (mask, pool) {
            // The last token sees all.
            (Mask::Causal, Some(Pool::Last)) => Mask::None,
            (mask, _) => mask,
        };
        let bias = bias.map(|bias| self.bias(bias, [queries, keys]));
        let hidden = self.mask(mask, [queries, keys], ids);
        // Padding is hidden from every query alike.
        let [bias, hidden] =
            [(bias, true), (hidden, mask == Mask::Causal)].map(|(added, differs)| match (added, pool) {
                (Some(added), Some(pool)) if differs => Some(self.selected_scores(&added, pool)),
                (added, _) => added,
            });
        let width = fixed(node);
        self.attend([q, k, v], [heads, width / heads], factor, &[bias, hidden], &[0, 0, width as i64])
    }

    /// Values stored side by side: queries, keys and values, or the last two.
    pub fn split<const COUNT: usize>(&mut self, packed: &Value) -> [Value; COUNT] {
        let attributes = vec![("axis", OnnxAttribute::Int(-1))];
        self.emit.several("Split", &[packed], attributes, packed.dtype)
    }

    /// Softmax of the biased scores times the values, as a value of `shape`.
    pub fn attend(
        &mut self,
        [q, k, v]: [Value; 3],
        [heads, head_width]: [usize; 2],
        factor: Option<f64>,
        added: &[Option<Value>],
        shape: &[i64],
    ) -> Value {
        let scores = self.scores([q, k], [heads, head_width], factor);
        let scores = added
            .iter()
            .flatten()
            .fold(scores, |scores, added| self.emit.node("Add", &[&scores, added], vec![]));
        self.mix(&scores, &v, [heads, head_width], shape)
    }

    /// Products of queries and keys, `[batch, heads, queries, keys]`.
    pub fn scores(
        &mut self,
        [q, k]: [Value; 2],
        [heads, head_width]: [usize; 2],
        factor: Option<f64>,
    ) -> Value {
        let cut = [0, 0, heads as i64, head_width as i64];
        let q = match factor {
            None => q,
            Some(factor) => {
                let factor = self.emit.scalar(factor, self.float);
                self.emit.node("Mul", &[&q, &factor], vec![])
            }
        };
        let q = self.emit.reshape(&q, &cut);
        let q = self.emit.transpose(&q, &[0, 2, 1, 3]);
        let k = self.emit.reshape(&k, &cut);
        let k = self.emit.transpose(&k, &[0, 2, 3, 1]);
        self.emit.node("MatMul", &[&q, &k], vec![])
    }

    /// Values weighted by the softmax of their scores.
    pub fn mix(
        &mut self,
        scores: &Value,
        v: &Value,
        [heads, head_width]: [usize; 2],
        shape: &[i64],
    ) -> Value {
        let v = self.emit.reshape(v, &[0, 0, heads as i64, head_width as i64]);
        let v = self.emit.transpose(&v, &[0, 2, 1, 3]);
        let weights = self.emit.node("Softmax", &[scores], vec![("axis", OnnxAttribute::Int(-1))]);
        let mixed = self.emit.node("MatMul", &[&weights, &v], vec![]);
        let mixed = self.emit.transpose(&mixed, &[0, 2, 1, 3]);
        self.emit.reshape(&mixed, shape)
    }

    /// Bias of the scores, `[1, heads, queries, keys]`.
    fn bias(&mut self, bias: AttentionBias, dims: [Dim; 2]) -> Value {
        let [queries, keys] = dims;
        debug_assert_eq!(queries, keys, "a bias is of one sequence");
        let tokens = self.count(queries).unwrap_or_else(|| self.longest(queries));
        let (table, heads) = match bias {
            AttentionBias::Buckets { table, .. } => (table, self.parameters.get(table).shape[1]),
            AttentionBias::GridMlp { weight, .. } => (weight, self.parameters.get(weight).shape[0]),
            AttentionBias::Window { reach } => {
                return self
                    .shared(format!("window {reach} {queries}"), |this| this.window(reach, tokens, queries));
            }
        };
        let name = self.name(table, ".scores");
        let whole = self.weight(&name, &[1, heads, tokens, tokens], Recipe::Scores { bias, tokens });
        match self.count(queries) {
            Some(_) => whole,
            None => self
                .shared(format!("{} of {queries}", whole.name), |this| this.first(&whole, &[2, 3], queries)),
        }
    }

    /// Rotates queries or keys by their positions.
    pub fn rotary(&mut self, x: &Value, node: &Node, heads: usize, rotation: &Rotation) -> Value {
        let width = fixed(node);
        let head = width / heads;
        let pairs = head / 2;
        let key = format!("{rotation:?} {head}");
        let table = |this: &mut Self, name: &str, function: fn(f64) -> f64, signed: bool| {
            let angles = rotation.angles(pairs);
            let element = |token: usize, place: usize| {
                let (pair, first) = match rotation.pairs {
                    Pairs::Neighbors => (place / 2, place.is_multiple_of(2)),
                    Pairs::Halves => (place % pairs, place < pairs),
                };
                let sign = if signed && first { -1.0 } else { 1.0 };
                sign * function(f64::from(angles[token * pairs + pair]))
            };
            let tokens = rotation.tokens();
            let values = (0..tokens).flat_map(|token| (0..head).map(move |place| (token, place)));
            let values = values.map(|(token, place)| element(token, place)).collect();
            let shape = [tokens, 1, head];
            this.emit.tensor(&format!("rotary.{name}"), this.float, &shape, Recipe::Numbers(values))
        };
        let dim = node.shape[1];
        let fitted = |this: &mut Self, whole: Value| match this.count(dim) {
            Some(tokens) if tokens == rotation.tokens() => whole,
            _ => this.first(&whole, &[0], dim),
        };
        let cosines = self.shared(format!("cosines {key} {dim}"), |this| {
            let whole = table(this, "cosines", f64::cos, false);
            fitted(this, whole)
        });
        let sines = self.shared(format!("sines {key} {dim}"), |this| {
            let whole = table(this, "sines", f64::sin, true);
            fitted(this, whole)
        });
        let cut = self.emit.reshape(x, &[0, 0, heads as i64, head as i64]);
        let other = match rotation.pairs {
            Pairs::Halves => {
                let attributes = vec![("axis", OnnxAttribute::Int(-1))];
                let [first, second] = self.emit.several("Split", &[&cut], attributes, cut.dtype);
                self.emit.concatenate(&[&second, &first], -1)
            }
            Pairs::Neighbors => {
                let swapped: Vec<i64> = (0..head as i64).map(|place| place ^ 1).collect();
                let swapped = self.emit.integers(&swapped);
                self.emit.gather(&cut, &swapped, -1)
            }
        };
        let kept = self.emit.node("Mul", &[&cut, &cosines], vec![]);
        let turned = self.emit.node("Mul", &[&other, &sines], vec![]);
        let sum = self.emit.node("Add", &[&kept, &turned], vec![]);
        self.emit.reshape(&sum, &[0, 0, width as i64])
    }
}
