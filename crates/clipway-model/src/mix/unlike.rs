//! In what two sources differ besides the values of their weights.

use std::collections::BTreeMap;

use clipway_formats::shown;

use crate::contract::{Contract, Field};
use crate::graph::Graph;
use crate::source::Source;

/// Most tensors that are named.
const MOST: usize = 5;

/// Fields of a contract that are numbers among the weights or no part of the model.
const FREE: [Field; 3] = [Field::LogitScale, Field::LogitBias, Field::License];

/// Every difference between two sources, given with their numbers.
pub(super) fn differences(sources: [(usize, &Source); 2]) -> Vec<String> {
    let [(_, a), (_, b)] = sources;
    let mut found = Vec::new();
    if a.tower() != b.tower() {
        found.push(say(sources, "towers", a.tower().name(), b.tower().name()));
    }
    tensors(sources, &mut found);
    if found.is_empty() {
        let [ours, theirs] = [a.model(), b.model()];
        architecture(sources, "image tower", [&ours.image, &theirs.image], &mut found);
        architecture(sources, "text tower", [&ours.text, &theirs.text], &mut found);
    }
    contract(sources, [a.contract(), b.contract()], &mut found);
    found
}

fn say(sources: [(usize, &Source); 2], what: &str, a: &str, b: &str) -> String {
    let [(one, _), (other, _)] = sources;
    format!("{what}: {a} in source {one}, {b} in source {other}")
}

/// Tensors that only one has, or of another shape or kind.
fn tensors(sources: [(usize, &Source); 2], found: &mut Vec<String>) {
    let infos = |source: &Source| -> BTreeMap<String, (Vec<usize>, bool)> {
        let targets = source.plan().tensors.iter().map(|planned| &planned.target);
        targets.map(|info| (info.name.clone(), (info.shape.clone(), info.dtype.is_float()))).collect()
    };
    let [a, b] = sources.map(|(_, source)| infos(source));
    let mut unlike = Vec::new();
    for (name, info) in &a {
        let shown = |(shape, is_float): &(Vec<usize>, bool)| {
            format!("{}{shape:?}", if *is_float { "" } else { "integers " })
        };
        match b.get(name) {
            None => unlike.push(say(sources, &tensor(name), &shown(info), "absent")),
            Some(other) if other != info => {
                unlike.push(say(sources, &tensor(name), &shown(info), &shown(other)));
            }
            Some(_) => {}
        }
    }
    let more = b.keys().filter(|name| !a.contains_key(*name));
    unlike.extend(more.map(|name| say(sources, &tensor(name), "absent", "present")));
    let rest = unlike.len().saturating_sub(MOST);
    found.extend(unlike.into_iter().take(MOST));
    if rest > 0 {
        found.push(format!("and {rest} more tensors"));
    }
}

fn tensor(name: &str) -> String {
    format!("`{}`", shown(name))
}

/// The first operation that differs.
fn architecture(sources: [(usize, &Source); 2], tower: &str, graphs: [&Graph; 2], found: &mut Vec<String>) {
    let of = |(graph, (_, source)): (&Graph, (usize, &Source))| {
        graph.describe(&source.model().parameters).nodes.into_iter().map(|node| node.operation)
    };
    let [a, b] = [of((graphs[0], sources[0])), of((graphs[1], sources[1]))];
    let (a, b): (Vec<String>, Vec<String>) = (a.collect(), b.collect());
    if let Some((a, b)) = a.iter().zip(&b).find(|(a, b)| a != b) {
        found.push(say(sources, tower, a, b));
    } else if a.len() != b.len() {
        let count = |count: usize| format!("{count} operations");
        found.push(say(sources, tower, &count(a.len()), &count(b.len())));
    }
}

/// Fields of the contracts that differ.
fn contract(sources: [(usize, &Source); 2], contracts: [&Contract; 2], found: &mut Vec<String>) {
    let rows = |contract: &Contract| -> BTreeMap<&'static str, String> {
        let rows = contract.rows().into_iter();
        rows.filter(|row| FREE.iter().all(|free| free.name() != row.field))
            .map(|row| (row.field, row.value))
            .collect()
    };
    let [a, b] = contracts.map(rows);
    for (field, value) in &a {
        let other = b.get(field).map_or("unknown", String::as_str);
        if other != value {
            found.push(say(sources, field, value, other));
        }
    }
    let more = b.iter().filter(|(field, _)| !a.contains_key(*field));
    found.extend(more.map(|(field, value)| say(sources, field, "unknown", value)));
    // Rules of tokenizers have more parts than their row shows.
    let rules = contracts.map(|contract| {
        contract.text.as_ref().and_then(|text| text.tokenizer.as_ref()).map(|known| &known.value)
    });
    if let [Some(a), Some(b)] = rules
        && a != b
        && !found.iter().any(|line| line.starts_with(Field::Tokenizer.name()))
    {
        found.push(say(sources, "tokenizer rules", &format!("{a:?}"), &format!("{b:?}")));
    }
}
