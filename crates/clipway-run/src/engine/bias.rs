//! Biases added to attention scores, by head, query and key.

use std::borrow::Cow;

use clipway_model::graph::{GridMlp, distance_bucket};

/// Score of a hidden key: finite, so that a query that sees no key at all, one in padding, has no NaN.
const HIDDEN: f32 = -1e30;

/// A bias that can be computed for sequences of any length.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Bias {
    /// The same for all pairs at the same distance, key minus query.
    Distances {
        /// `[heads, 2 * reach + 1]`: distances from `-reach` to `reach`; beyond them, the first and last apply.
        values: Vec<f32>,
        /// Longest distance with its own value.
        reach: usize,
    },
    /// A separate number for each pair of tokens, `[heads, tokens, tokens]`.
    Pairs { values: Vec<f32>, tokens: usize },
}

impl Bias {
    /// T5's bias from its table `[buckets, heads]`; see `clipway_model::graph::AttentionBias::Buckets`.
    pub fn of_buckets(table: &[f32], [buckets, heads]: [usize; 2], reach: usize) -> Bias {
        let rows = (0..=2 * reach).map(|place| distance_bucket(place as i64 - reach as i64, buckets, reach));
        let rows: Vec<usize> = rows.collect();
        let values = (0..heads).flat_map(|head| rows.iter().map(move |row| table[row * heads + head]));
        Bias::Distances { values: values.collect(), reach }
    }

    /// A bias that hides keys more than `reach` tokens away.
    pub fn of_window(reach: usize, heads: usize) -> Bias {
        let mut one = vec![0.0; 2 * reach + 3];
        one[0] = HIDDEN;
        one[2 * reach + 2] = HIDDEN;
        Bias::Distances { values: one.repeat(heads), reach: reach + 1 }
    }

    /// The bias that an MLP computes from relative grid positions, for the patch tokens after `skip` others; see
    /// `clipway_model::graph::AttentionBias::GridMlp`.
    pub fn of_grid(mlp: &GridMlp, [rows, columns]: [usize; 2], skip: usize) -> Bias {
        let tokens = skip + rows * columns;
        Bias::Pairs { values: mlp.pairs([rows, columns], skip), tokens }
    }

    /// The bias of this many queries and keys, from the first position.
    pub fn first(&self, queries: usize, keys: usize) -> Written<'_> {
        match self {
            Bias::Pairs { values, tokens } => {
                Written { values: Cow::Borrowed(values), queries: *tokens, keys: *tokens }
            }
            Bias::Distances { .. } => {
                let places = |count: usize| (0..count).collect::<Vec<_>>();
                let values = Cow::Owned(self.write(&places(queries), &places(keys)));
                Written { values, queries, keys }
            }
        }
    }

    /// The bias `[heads, queries, keys]` of the given queries and keys, by their positions in the sequence.
    pub fn write(&self, queries: &[usize], keys: &[usize]) -> Vec<f32> {
        match self {
            Bias::Distances { values, reach } => {
                let reach = *reach as i64;
                let mut out =
                    Vec::with_capacity(values.len() / (2 * reach as usize + 1) * queries.len() * keys.len());
                for head in values.chunks_exact(2 * reach as usize + 1) {
                    for query in queries {
                        let place = |key: &usize| (*key as i64 - *query as i64).clamp(-reach, reach) + reach;
                        out.extend(keys.iter().map(|key| head[place(key) as usize]));
                    }
                }
                out
            }
            Bias::Pairs { values, tokens } => {
                let mut out = Vec::new();
                for head in values.chunks_exact(tokens * tokens) {
                    for query in queries {
                        out.extend(keys.iter().map(|key| head[query * tokens + key]));
                    }
                }
                out
            }
        }
    }
}

/// A bias `[heads, queries, keys]`.
pub(super) struct Written<'a> {
    pub values: Cow<'a, [f32]>,
    pub queries: usize,
    pub keys: usize,
}

#[cfg(test)]
mod tests {
    use super::{Bias, GridMlp, HIDDEN};

    #[test]
    fn steps_on_a_grid_are_seen_down_and_across() {
        // The first head uses positive vertical offsets; the second adds the horizontal ones and 1.
        let mlp = GridMlp {
            hidden_weight: vec![1.0, 0.0, 0.0, 1.0],
            hidden_bias: vec![0.0; 2],
            weight: vec![1.0, 0.0, 1.0, 1.0],
            bias: vec![0.0, 1.0],
        };
        let bias = Bias::of_grid(&mlp, [2, 2], 1);
        // For the class token, then for the lower right patch: itself, lower right, upper right, upper left.
        let found = bias.write(&[0, 4], &[0, 4, 2, 1]);
        let (one, two) = (2.0_f32.ln(), 2.0 * 2.0_f32.ln() + 1.0);
        assert_eq!(found[..8], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, one, one]);
        assert_eq!(found[8..], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, one + 1.0, two]);
        assert_eq!(bias.first(1, 5).queries, 5);
    }

    #[test]
    fn keys_outside_of_the_window_are_hidden() {
        let found = Bias::of_window(2, 2).write(&[0, 3], &[0, 1, 3, 6, 5]);
        let expected = [0.0, 0.0, HIDDEN, HIDDEN, HIDDEN, HIDDEN, 0.0, 0.0, HIDDEN, 0.0];
        assert_eq!(found, [expected, expected].concat());
    }

    #[test]
    fn far_keys_share_the_last_bucket() {
        // Two heads, four buckets: same position, before, never used, after.
        let bias = Bias::of_buckets(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], [4, 2], 3);
        let found = bias.write(&[1, 9], &[0, 1, 2, 9]);
        assert_eq!(found[..8], [2.0, 0.0, 6.0, 6.0, 2.0, 2.0, 2.0, 0.0]);
        assert_eq!(found[8..], [3.0, 1.0, 7.0, 7.0, 3.0, 3.0, 3.0, 1.0]);
    }
}
