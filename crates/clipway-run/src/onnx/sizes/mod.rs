//! What a graph asks for, before a runtime sees it: memory and multiplications for one sample, from the shapes of its
//! values. A small file may describe a graph that no machine can run, and the runtime takes its memory without asking.

mod graph;
mod infer;
mod integers;
mod shapes;
mod size;

use std::collections::HashMap;

pub(super) use graph::SizeGraph;
use infer::{Cost, cost_of};
pub use size::OnnxLengths;
use size::Size;

use clipway_formats::shown;

use super::failure::OnnxError;
use crate::budget::Budget;

/// Bytes of an element. Runtimes compute in f32 and with integers of 32 bits.
const ELEMENT: u64 = 4;

/// Forms of a weight that a graph may compute before it uses it, as when int8 becomes f32 and is then transposed.
const FORMS: u64 = 4;

/// How often a runtime may need what the engine needs, since it runs node by node.
const ROOM: u64 = 2;

impl SizeGraph {
    /// Checks what the graph asks for to run one sample.
    ///
    /// # Errors
    /// More memory or multiplications than the budget allows, a node that repeats other nodes, and a node whose output
    /// is as large as a value that only running it would tell.
    pub(super) fn check(&self, lengths: OnnxLengths, budget: Budget) -> Result<(), OnnxError> {
        let most = (budget.bytes * ROOM) / ELEMENT;
        let mut sizes: HashMap<&str, Size> = HashMap::new();
        for (name, dims) in &self.inputs {
            let size = Size::of(lengths.filled(dims));
            if size.elements > most {
                return Err(too_large(name, size.elements, most));
            }
            sizes.insert(name, size);
        }
        for (name, size) in &self.stored {
            if size.elements > most {
                return Err(too_large(name, size.elements, most));
            }
            sizes.insert(name, size.clone());
        }
        let stored = self.stored.iter().fold(0u64, |sum, (_, size)| sum.saturating_add(size.elements));
        let last_uses = self.last_uses();
        let (mut alive, mut stays, mut multiplications) = (0u64, 0u64, 0u64);
        for (index, node) in self.nodes.iter().enumerate() {
            let inputs: Vec<Option<&Size>> =
                node.inputs.iter().map(|name| sizes.get(name.as_str())).collect();
            let Cost { outputs, multiplications: own } = cost_of(node, &inputs)?;
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
                return Err(too_large(node.shown_name(), total, most));
            }
            multiplications = multiplications.saturating_add(own);
            if multiplications > budget.multiplications {
                let (node, most) = (shown(node.shown_name()), budget.multiplications);
                return Err(OnnxError::Work { node, needed: multiplications, most });
            }
            for name in last_uses.get(&index).into_iter().flatten() {
                if let Some(size) = sizes.get(name).filter(|size| !size.is_constant) {
                    alive = alive.saturating_sub(size.elements);
                }
            }
        }
        Ok(())
    }

    /// For each node the values that no later one uses. Outputs of the graph are kept to the end, and inputs are the
    /// caller's.
    fn last_uses(&self) -> HashMap<usize, Vec<&str>> {
        let mut last: HashMap<&str, usize> = HashMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            last.extend(node.inputs.iter().chain(&node.outputs).map(|name| (name.as_str(), index)));
        }
        for name in self.outputs.iter().chain(self.inputs.iter().map(|(name, _)| name)) {
            last.remove(name.as_str());
        }
        let mut by_node: HashMap<usize, Vec<&str>> = HashMap::new();
        for (name, index) in last {
            by_node.entry(index).or_default().push(name);
        }
        by_node
    }
}

fn too_large(name: &str, elements: u64, most: u64) -> OnnxError {
    let bytes = |elements: u64| elements.saturating_mul(ELEMENT);
    OnnxError::Memory { at: shown(name), needed: bytes(elements), most: bytes(most) }
}
