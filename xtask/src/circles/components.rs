//! Strongly connected components of files.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Returns the strongly connected components, by Tarjan's algorithm.
pub fn components(needs: &BTreeMap<usize, BTreeSet<usize>>) -> Vec<BTreeSet<usize>> {
    #[derive(Default)]
    struct State {
        order: HashMap<usize, usize>,
        lowest: HashMap<usize, usize>,
        stack: Vec<usize>,
        found: Vec<BTreeSet<usize>>,
    }
    fn visit(file: usize, needs: &BTreeMap<usize, BTreeSet<usize>>, state: &mut State) {
        let order = state.order.len();
        state.order.insert(file, order);
        state.lowest.insert(file, order);
        state.stack.push(file);
        for &other in &needs[&file] {
            if !state.order.contains_key(&other) {
                visit(other, needs, state);
                let lowest = state.lowest[&file].min(state.lowest[&other]);
                state.lowest.insert(file, lowest);
            } else if state.stack.contains(&other) {
                let lowest = state.lowest[&file].min(state.order[&other]);
                state.lowest.insert(file, lowest);
            }
        }
        if state.lowest[&file] == order {
            let start = state.stack.iter().position(|other| *other == file).unwrap_or_default();
            let component = state.stack.split_off(start).into_iter().collect();
            state.found.push(component);
        }
    }
    let mut state = State::default();
    for &file in needs.keys() {
        if !state.order.contains_key(&file) {
            visit(file, needs, &mut state);
        }
    }
    state.found
}
