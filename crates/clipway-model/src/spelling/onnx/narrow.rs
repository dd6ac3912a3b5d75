//! Computes only the tokens that a pool selects, where nothing else is used.
//!
//! A pool that selects one token of each sample needs only that token of its input; so does, in turn, every operation
//! before it that works token by token, up to the queries of an attention. Keys and values are needed in full. In the last block
//! of a transformer this leaves the keys' and the values' products.

use std::collections::HashMap;

use clipway_formats::OnnxAttribute;

use super::emit::Value;
use super::fuse::Fused;
use super::lowering::Lowering;
use super::recipe::Factor;
use crate::graph::{Demand, Dim, Graph, Mask, Node, Operation, Pool, ValueId, WeightLayout};

/// How much of each value of a tower is computed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Narrow {
    /// For each node, the pool that selects its only token; `None` if all are computed.
    pub pools: Vec<Option<Pool>>,
    /// The linear layers whose queries are computed apart from their keys and values, with the pool that selects their token.
    pub split: HashMap<usize, Pool>,
    /// The ids by which a pool chooses.
    ids: Option<ValueId>,
}

impl Narrow {
    /// Finds what a tower need not compute. A value that is `kept` is computed in full.
    pub fn of(tower: &Graph, kept: &[ValueId], fused: &[Fused]) -> Narrow {
        let mut demands = vec![Demand::Nothing; tower.nodes.len()];
        kept.iter().for_each(|value| demands[value.index()] = Demand::All);
        for (index, node) in tower.nodes.iter().enumerate().rev() {
            let demand = match demands[index] {
                Demand::Pooled(pool) if can_narrow(node, pool) => demands[index],
                _ => Demand::All,
            };
            demands[index] = demand;
            for (slot, input) in node.inputs.iter().enumerate() {
                let wanted = match node.operation {
                    Operation::Pool(pool) if slot == 0 && selects(pool) => Demand::Pooled(pool),
                    _ if reads_token(node, slot) => demand,
                    _ => Demand::All,
                };
                demands[input.index()].join(wanted);
            }
        }
        let pool = |demand: &Demand<Pool>| match demand {
            Demand::Pooled(pool) => Some(*pool),
            _ => None,
        };
        let pools: Vec<Option<Pool>> = demands.iter().map(pool).collect();
        let split = split(tower, kept, &pools, fused);
        let ids = tower.nodes.iter().find_map(|node| match node.operation {
            Operation::Pool(pool) if pool.chooses_by_ids() => node.inputs.get(1).copied(),
            _ => None,
        });
        Narrow { pools, split, ids }
    }
}

/// Whether a pool selects one token.
fn selects(pool: Pool) -> bool {
    matches!(pool, Pool::First | Pool::Last) || pool.chooses_by_ids()
}

/// Whether an operation can compute the selected token alone.
fn can_narrow(node: &Node, pool: Pool) -> bool {
    if node.shape.len() != 3 || node.shape[1] == Dim::Fixed(1) {
        return false;
    }
    match node.operation {
        Operation::Attention { bias: Some(_), .. } if pool != Pool::First => false,
        // The rows of such a mask differ from text to text.
        Operation::Attention { mask: Mask::Padding { causal, .. }, .. } => !causal,
        Operation::Attention { .. } => true,
        _ => works_by_token(&node.operation),
    }
}

/// Whether a token of the result depends only on the same token of the inputs, and not on its place.
fn works_by_token(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Linear { .. }
            | Operation::LayerNorm { .. }
            | Operation::HeadNorm { .. }
            | Operation::RmsNorm { .. }
            | Operation::UnitHeads { .. }
            | Operation::ScaleHeads { .. }
            | Operation::Activation(_)
            | Operation::Add
            | Operation::Multiply
            | Operation::Subtract
            | Operation::AddRow { .. }
            | Operation::Times { .. }
            | Operation::Scale { .. }
    )
}

/// Whether the node needs of an input only the token that is wanted of its result.
fn reads_token(node: &Node, slot: usize) -> bool {
    match node.operation {
        Operation::Attention { .. } => slot == 0 && !is_packed(node),
        ref operation => works_by_token(operation),
    }
}

/// Whether an attention has its queries, keys and values side by side in one input.
fn is_packed(node: &Node) -> bool {
    let looks_at_ids = matches!(node.operation, Operation::Attention { mask: Mask::Padding { .. }, .. });
    node.inputs.len() == 1 + usize::from(looks_at_ids)
}

/// The linear layers that make queries, keys and values side by side for an attention of which one token is wanted, and
/// for nothing else, each with the pool that selects the token.
fn split(tower: &Graph, kept: &[ValueId], pools: &[Option<Pool>], fused: &[Fused]) -> HashMap<usize, Pool> {
    let mut uses = vec![0; tower.nodes.len()];
    let read = tower.nodes.iter().flat_map(|node| &node.inputs);
    read.chain(kept).for_each(|value| uses[value.index()] += 1);
    let of_attention = |(node, pool): (&Node, &Option<Pool>)| {
        let is_attention = matches!(node.operation, Operation::Attention { .. }) && is_packed(node);
        let pool = pool.filter(|_| is_attention)?;
        let linear = node.inputs[0].index();
        let Operation::Linear { rows: None, layout: WeightLayout::OutIn, .. } = tower.nodes[linear].operation
        else {
            return None;
        };
        // Of what is merged into the weights, the factor of the queries is theirs alone.
        let only_scales =
            fused[linear].after.factors.iter().all(|factor| matches!(factor, Factor::First(..)));
        (only_scales && uses[linear] == 1).then_some((linear, pool))
    };
    tower.nodes.iter().zip(pools).filter_map(of_attention).collect()
}

impl Lowering<'_> {
    /// An input of a node, with as many tokens as the node reads.
    pub fn input(&mut self, index: usize, slot: usize) -> Value {
        let node = &self.tower.nodes[index];
        let input = node.inputs[slot].index();
        let value = self.values[input].clone();
        match (self.narrow.pools[index], self.narrow.pools[input]) {
            (Some(pool), None) if reads_token(node, slot) => self.selected(&value, pool),
            _ => value,
        }
    }

    /// The token that a pool selects, `[batch, 1, width]`.
    pub fn selected(&mut self, x: &Value, pool: Pool) -> Value {
        self.shared(format!("{pool:?} of {}", x.name), |this| match pool {
            Pool::First => this.emit.slice(x, 1, 0, 1),
            Pool::Last => this.emit.slice(x, 1, -1, i64::MAX),
            _ => {
                let place = this.selected_place(pool);
                let token =
                    this.emit.node("GatherND", &[x, &place], vec![("batch_dims", OnnxAttribute::Int(1))]);
                let axis = this.emit.integers(&[1]);
                this.emit.node("Unsqueeze", &[&token, &axis], vec![])
            }
        })
    }

    /// What is added to the scores of the selected query, of a mask or a bias `[1, heads or 1, queries, keys]`.
    pub fn selected_scores(&mut self, added: &Value, pool: Pool) -> Value {
        self.shared(format!("{pool:?} of {}", added.name), |this| {
            if pool == Pool::First {
                return this.emit.slice(added, 2, 0, 1);
            }
            let place = this.selected_place(pool);
            let axes = this.emit.integers(&[0, 1]);
            let rows = this.emit.node("Squeeze", &[added, &axes], vec![]);
            let rows = Value { constant: false, ..this.emit.gather(&rows, &place, 0) };
            let axis = this.emit.integers(&[1]);
            this.emit.node("Unsqueeze", &[&rows, &axis], vec![])
        })
    }

    /// The place of the token that a pool chooses by the ids, `[batch, 1]`.
    fn selected_place(&mut self, pool: Pool) -> Value {
        let ids = self.narrow.ids.expect("a pool that chooses by ids has them");
        let ids = self.values[ids.index()].clone();
        self.place(pool, &ids)
    }
}
