//! What is merged into earlier weights: factors and norms that directly follow a linear layer or convolution, and
//! attention scales.

use super::recipe::{After, Factor, Norm};
use crate::graph::{Graph, Node, Operation, ValueId};

/// For each node, what its weights absorb, and whether the node was absorbed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fused {
    /// What follows the node's product.
    pub after: After,
    /// Whether earlier weights include its scale (attention), or all of it (norms, factors).
    pub taken: bool,
}

/// Finds what can be merged into weights. A value that is `kept` or read twice stays as it is.
pub(super) fn fuse(tower: &Graph, kept: &[ValueId]) -> Vec<Fused> {
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); tower.nodes.len()];
    for (index, node) in tower.nodes.iter().enumerate() {
        node.inputs.iter().for_each(|input| readers[input.index()].push(index));
    }
    let mut fused = vec![Fused::default(); tower.nodes.len()];
    for index in 0..tower.nodes.len() {
        let is_conv = match tower.nodes[index].operation {
            Operation::Linear { .. } => false,
            Operation::Conv2d { .. } => true,
            _ => continue,
        };
        let mut at = index;
        while let [next] = readers[at][..] {
            if kept.iter().any(|value| value.index() == at) {
                break;
            }
            let (node, goes_on) = (&tower.nodes[next], at);
            let factor = match node.operation {
                Operation::BatchNorm { weight, bias, mean, variance, epsilon } if is_conv => {
                    Factor::Norm(Norm { weight, bias, mean, variance, epsilon })
                }
                Operation::Scale { factors } => Factor::Parameter(factors),
                _ => {
                    if let Some(factor) = scale_of(tower, node, goes_on) {
                        fused[index].after.factors.push(factor);
                        fused[next].taken = true;
                    }
                    break;
                }
            };
            fused[index].after.factors.push(factor);
            fused[next].taken = true;
            at = next;
        }
    }
    fused
}

/// The query factor of an attention, if the node at `at` produces its queries.
fn scale_of(tower: &Graph, node: &Node, at: usize) -> Option<Factor> {
    let width = match tower.nodes[at].shape.last() {
        Some(crate::graph::Dim::Fixed(width)) => *width,
        _ => return None,
    };
    let is_first = node.inputs.first().is_some_and(|value| value.index() == at);
    match node.operation {
        Operation::Attention { scale, .. } if is_first => {
            let queries = if width == output_width(node) { width } else { width / 3 };
            Some(Factor::First(queries, f64::from(scale)))
        }
        Operation::WindowAttention { heads, .. } => {
            Some(Factor::First(width / 3, 1.0 / ((width / 3 / heads) as f64).sqrt()))
        }
        _ => None,
    }
}

fn output_width(node: &Node) -> usize {
    match node.shape.last() {
        Some(crate::graph::Dim::Fixed(width)) => *width,
        _ => 0,
    }
}
