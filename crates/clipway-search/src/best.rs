//! The best rows of a query.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A row and how well it fits a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scored {
    pub(crate) score: f32,
    pub(crate) row: u64,
}

impl Eq for Scored {}

/// Better is less, so that sorting puts the best first, and a heap has the worst on top. Of rows with the same score, the
/// lower one is better.
impl Ord for Scored {
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The best rows so far, at most `most`.
#[derive(Clone, Debug)]
pub(crate) struct Best {
    most: usize,
    heap: BinaryHeap<Scored>,
}

impl Best {
    pub(crate) fn new(most: usize) -> Best {
        Best { most, heap: BinaryHeap::new() }
    }

    /// The score that a later row must exceed.
    pub(crate) fn threshold(&self) -> f32 {
        match self.heap.peek() {
            Some(worst) if self.heap.len() == self.most => worst.score,
            _ => f32::NEG_INFINITY,
        }
    }

    pub(crate) fn push(&mut self, scored: Scored) {
        if self.heap.len() < self.most {
            self.heap.push(scored);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && scored < *worst
        {
            *worst = scored;
        }
    }

    pub(crate) fn merge(&mut self, other: Best) {
        other.heap.into_iter().for_each(|scored| self.push(scored));
    }

    /// The rows, best first.
    pub(crate) fn sorted(self) -> Vec<Scored> {
        self.heap.into_sorted_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_kept_and_ties_go_to_the_lower_row() {
        let scores = [0.5, 0.9, 0.5, 0.1, 0.9, 0.5, -0.0, 0.0];
        let rows = |order: &[usize], most| -> Vec<u64> {
            let mut best = Best::new(most);
            for row in order {
                best.push(Scored { score: scores[*row], row: *row as u64 });
            }
            best.sorted().iter().map(|scored| scored.row).collect()
        };
        for order in [[0, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0], [2, 5, 0, 7, 4, 1, 3, 6]] {
            assert_eq!(rows(&order, 4), [1, 4, 0, 2]);
            assert_eq!(rows(&order, 8), [1, 4, 0, 2, 5, 3, 7, 6]);
        }
        assert_eq!(rows(&[0, 1], 0), [0_u64; 0]);
    }
}
