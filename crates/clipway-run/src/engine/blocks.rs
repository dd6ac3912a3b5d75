//! The outputs of a tower's blocks, by the names that the checkpoint gives them.

use clipway_model::graph::Graph;

/// The node that gives the last value of each module whose name ends in a number, in the order of the tower.
pub(super) fn numbered_modules(graph: &Graph) -> Vec<(String, usize)> {
    let mut found: Vec<(String, usize)> = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let mut end = 0;
        for part in node.scope.split('.') {
            end += part.len();
            let numbered = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            if numbered {
                let name = &node.scope[..end];
                match found.iter_mut().find(|(n, _)| n == name) {
                    Some((_, last)) => *last = index,
                    None => found.push((name.to_owned(), index)),
                }
            }
            end += 1;
        }
    }
    found.sort_by_key(|(_, index)| *index);
    found
}
