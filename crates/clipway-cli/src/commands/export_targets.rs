//! What `clipway export` writes: `--to`.

use clap::builder::{PossibleValue, PossibleValuesParser};
use clipway_model::spelling::{TARGETS, Target};

/// Names of the targets, each with a description.
pub fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(TARGETS.iter().map(|target| PossibleValue::new(target.name).help(target.about)))
}

/// The requested targets without repeats, grouped by layout.
pub fn groups(names: &[String]) -> Vec<Vec<&'static Target>> {
    let asked = |target: &&Target| names.iter().any(|name| name == target.name);
    let mut groups: Vec<Vec<&Target>> = Vec::new();
    for target in TARGETS.iter().filter(asked) {
        let layout = |group: &&mut Vec<&Target>| group[0].spelling.layout == target.spelling.layout;
        match groups.iter_mut().find(layout) {
            Some(group) => group.push(target),
            None => groups.push(vec![target]),
        }
    }
    groups
}
