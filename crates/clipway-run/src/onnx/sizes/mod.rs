//! What a graph asks for, before a runtime sees it: memory and multiplications for one sample, from the shapes of its
//! values. A small file may describe a graph that no machine can run, and the runtime takes its memory without asking.

mod infer;
mod integers;
mod read;
mod shapes;
mod size;

use std::collections::{HashMap, HashSet};

use infer::{Cost, cost_of};
use read::{Graph, read};
pub use size::OnnxLengths;
use size::Size;

use super::failure::OnnxError;
use crate::budget::Budget;

/// Bytes of an element. Runtimes compute in f32 and with integers of 32 bits.
const ELEMENT: u64 = 4;

/// Forms of a weight that a graph may compute before it uses it, as when int8 becomes f32 and is then transposed.
const FORMS: u64 = 4;

/// How often a runtime may need what the engine needs, since it runs node by node.
const ROOM: u64 = 2;

/// Checks what a model asks for to run one sample.
///
/// # Errors
/// More memory or multiplications than the [`Budget`] allows, a node that repeats other nodes, and a node whose output is
/// as large as a value that only running it would tell.
pub(super) fn check(model: &[u8], lengths: OnnxLengths) -> Result<(), OnnxError> {
    let graph = read(model, lengths)?;
    let budget = Budget::default();
    let most = (budget.bytes * ROOM) / ELEMENT;
    let mut sizes: HashMap<&[u8], Size> = HashMap::new();
    for (name, size) in &graph.given {
        if size.elements > most {
            return Err(too_large(name, size.elements.saturating_mul(ELEMENT), most * ELEMENT));
        }
        // Old files list what they store among the inputs too.
        if size.is_constant || !sizes.contains_key(name) {
            sizes.insert(name, size.clone());
        }
    }
    let constants = graph.given.iter().filter(|(_, size)| size.is_constant);
    let stored = constants.fold(0u64, |sum, (_, size)| sum.saturating_add(size.elements));
    let given: HashSet<&[u8]> = graph.given.iter().map(|(name, _)| *name).collect();
    let last_uses = last_uses(&graph);
    let (mut alive, mut stays, mut multiplications) = (0u64, 0u64, 0u64);
    for (index, node) in graph.nodes.iter().enumerate() {
        let inputs: Vec<Option<&Size>> = node.inputs.iter().map(|name| sizes.get(name)).collect();
        let Cost { outputs, multiplications: own } = cost_of(node, &inputs)?;
        multiplications = multiplications.saturating_add(own);
        let is_constant = inputs.iter().flatten().all(|size| size.is_constant);
        for (name, mut size) in node.outputs.iter().zip(outputs) {
            size.is_constant = is_constant;
            // What depends on weights alone is computed once and kept.
            let counted = if is_constant { &mut stays } else { &mut alive };
            *counted = counted.saturating_add(size.elements);
            sizes.insert(name, size);
        }
        let total = alive.saturating_add(stays.saturating_sub(stored.saturating_mul(FORMS)));
        if total > most {
            return Err(too_large(node.name(), total.saturating_mul(ELEMENT), most * ELEMENT));
        }
        if multiplications > budget.multiplications {
            let most = budget.multiplications;
            return Err(OnnxError::Work { node: node.shown(), needed: multiplications, most });
        }
        for name in node.inputs.iter().chain(&node.outputs) {
            if last_uses.get(name) == Some(&index)
                && let Some(size) = sizes.get(name).filter(|size| !size.is_constant)
                && !given.contains(name)
            {
                alive = alive.saturating_sub(size.elements);
            }
        }
    }
    Ok(())
}

/// The last node that uses each value, or makes one that nothing uses.
fn last_uses<'a>(graph: &Graph<'a>) -> HashMap<&'a [u8], usize> {
    let mut last = HashMap::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        for name in node.inputs.iter().chain(&node.outputs) {
            last.insert(*name, index);
        }
    }
    // Outputs of the graph are kept to the end.
    for name in &graph.outputs {
        last.remove(name);
    }
    last
}

fn too_large(name: &[u8], needed: u64, most: u64) -> OnnxError {
    OnnxError::Memory { at: read::shown(name), needed, most }
}
