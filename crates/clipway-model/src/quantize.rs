//! Which tensors of a model can be in int8 or int4.

use std::collections::{BTreeMap, BTreeSet};

use crate::architecture::Model;
use crate::graph::{Graph, Node, Operation, ParameterId, ValueId, WeightLayout};
use crate::plan::{Integers, Towers};

/// A tensor that can be in integers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name in open_clip.
    pub name: String,
    /// The tower that uses it.
    pub tower: Towers,
    /// Its elements.
    pub elements: usize,
    /// Whether its rows divide into groups, as int4 needs.
    pub takes_int4: bool,
}

/// The tensors whose rows along the first axis are outputs of a product or entries of a table: weights of linear layers,
/// filters of more than one channel, and embeddings. Projections that are stored the other way round stay as they are, and
/// so does what anything else uses too.
pub fn candidates(model: &Model, towers: Towers) -> Vec<Candidate> {
    let mut found: BTreeMap<usize, (ParameterId, Towers)> = BTreeMap::new();
    let mut others = BTreeSet::new();
    for (tower, graph) in [(Towers::Image, &model.image), (Towers::Text, &model.text)] {
        for node in &graph.nodes {
            let weight = match node.operation {
                Operation::Linear { weight, layout: WeightLayout::OutIn, .. } => Some(weight),
                Operation::Embedding { table } => Some(table),
                Operation::Conv2d { weight, .. } if model.parameters.get(weight).shape[1] > 1 => Some(weight),
                _ => None,
            };
            let is_taken = towers == Towers::Both || towers == tower;
            if let Some(weight) = weight.filter(|_| is_taken) {
                found.insert(weight.index(), (weight, tower));
            }
            let rest = node.operation.parameters().into_iter().filter(|id| Some(*id) != weight);
            others.extend(rest.map(ParameterId::index));
        }
    }
    let candidates = found.into_iter().filter(|(index, _)| !others.contains(index));
    let candidate = |(_, (id, tower)): (usize, (ParameterId, Towers))| {
        let parameter = model.parameters.get(id);
        let takes_int4 = Integers::Int4.takes(&parameter.shape);
        Candidate { name: parameter.name.clone(), tower, elements: parameter.elements(), takes_int4 }
    };
    candidates.map(candidate).collect()
}

/// The inputs of the products of a tower, except its pixels: of linear layers and convolutions.
pub fn product_inputs(tower: &Graph) -> Vec<ValueId> {
    let is_product =
        |node: &&Node| matches!(node.operation, Operation::Linear { .. } | Operation::Conv2d { .. });
    let inputs: BTreeSet<ValueId> =
        tower.nodes.iter().filter(is_product).map(|node| node.inputs[0]).collect();
    let is_computed = |value: &ValueId| !matches!(tower.node(*value).operation, Operation::Pixels);
    inputs.into_iter().filter(is_computed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{architecture, registry};

    #[test]
    fn nearly_all_of_a_model_can_be_int8() {
        let check = |name: &str, towers: Towers, least: f64, has: &[&str], has_not: &[&str]| {
            let model = architecture::build(&registry::model(name).unwrap()).unwrap();
            let found = candidates(&model, towers);
            let elements: usize = found.iter().map(|candidate| candidate.elements).sum();
            let share = elements as f64 / model.parameters.trained_elements() as f64;
            assert!(share > least, "{name}: {share}");
            let names: Vec<&str> = found.iter().map(|candidate| candidate.name.as_str()).collect();
            assert!(has.iter().all(|name| names.contains(name)), "{names:?}");
            assert!(has_not.iter().all(|name| !names.contains(name)), "{names:?}");
        };
        let projections = ["visual.proj", "text_projection", "positional_embedding"];
        let tables = ["visual.conv1.weight", "token_embedding.weight"];
        check("ViT-B-32", Towers::Both, 0.99, &tables, &projections);
        check("ViT-B-32", Towers::Image, 0.5, &tables[..1], &tables[1..]);
        check("RN50", Towers::Both, 0.98, &["visual.layer1.0.conv2.weight"], &["visual.bn1.weight"]);
        check("convnext_base", Towers::Both, 0.98, &[], &["visual.trunk.stages.0.blocks.0.conv_dw.weight"]);
    }
}
