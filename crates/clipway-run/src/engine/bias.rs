//! What attentions add to their scores, by head, query and key.

use std::borrow::Cow;

use clipway_model::graph::grid_steps;

/// A bias ready to be written out for sequences of any length.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Bias {
    /// The same for all pairs of one distance, key less query.
    Distances {
        /// `[heads, 2 * reach + 1]`: distances from `-reach` to `reach`; beyond them the first and last hold.
        values: Vec<f32>,
        /// Longest distance with a value of its own.
        reach: usize,
    },
    /// A number of its own for each pair of tokens, `[heads, tokens, tokens]`.
    Pairs { values: Vec<f32>, tokens: usize },
}

impl Bias {
    /// T5's bias from its table `[buckets, heads]`; see `clipway_model::graph::AttentionBias::Buckets`.
    pub fn of_buckets(table: &[f32], [buckets, heads]: [usize; 2], reach: usize) -> Bias {
        let rows = (0..=2 * reach).map(|place| bucket(place as i64 - reach as i64, buckets, reach));
        let rows: Vec<usize> = rows.collect();
        let values = (0..heads).flat_map(|head| rows.iter().map(move |row| table[row * heads + head]));
        Bias::Distances { values: values.collect(), reach }
    }

    /// What an MLP makes of steps on a grid, for the tokens of patches after `skip` others; see
    /// `clipway_model::graph::AttentionBias::GridMlp`.
    pub fn of_grid(mlp: &GridMlp, [rows, columns]: [usize; 2], skip: usize) -> Bias {
        let heads = mlp.bias.len();
        let tokens = skip + rows * columns;
        let mut values = vec![0.0; heads * tokens * tokens];
        // Each step, down and across, is taken by many pairs.
        let across = 2 * columns - 1;
        let steps = (0..(2 * rows - 1) * across).map(|step| {
            let (down, right) = (step / across, step % across);
            mlp.run([down as f32 - (rows - 1) as f32, right as f32 - (columns - 1) as f32])
        });
        let steps: Vec<Vec<f32>> = steps.collect();
        let patches = rows * columns;
        for (pair, step) in grid_steps([rows, columns]).into_iter().enumerate() {
            let (query, key) = (pair / patches, pair % patches);
            for (head, value) in steps[step].iter().enumerate() {
                values[(head * tokens + skip + query) * tokens + skip + key] = *value;
            }
        }
        Bias::Pairs { values, tokens }
    }

    /// The bias of so many queries and keys from the first place on.
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

    /// The bias `[heads, queries, keys]` of the given queries and keys, by their places in the sequence.
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

/// The numbers of an MLP from two coordinates to a number for each head.
pub(super) struct GridMlp {
    /// `[hidden, 2]`.
    pub hidden_weight: Vec<f32>,
    pub hidden_bias: Vec<f32>,
    /// `[heads, hidden]`.
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

impl GridMlp {
    /// The numbers of a step, in f64 but for the coordinates, which the models were trained with in f32.
    fn run(&self, step: [f32; 2]) -> Vec<f32> {
        let coordinates = step.map(|d| f64::from((f64::from(d.abs()).ln_1p() as f32).copysign(d)));
        let (weights, _) = self.hidden_weight.as_chunks::<2>();
        let hidden: Vec<f64> = weights
            .iter()
            .zip(&self.hidden_bias)
            .map(|([down, across], bias)| {
                let sum = f64::from(*down) * coordinates[0] + f64::from(*across) * coordinates[1];
                (sum + f64::from(*bias)).max(0.0)
            })
            .collect();
        let rows = self.weight.chunks_exact(hidden.len()).zip(&self.bias);
        rows.map(|(row, bias)| {
            let sum: f64 = row.iter().zip(&hidden).map(|(w, h)| f64::from(*w) * h).sum();
            (sum + f64::from(*bias)) as f32
        })
        .collect()
    }
}

/// The bucket of a distance, key less query.
///
/// In f32, as the model was trained: where a distance lies on the border of two buckets, rounding decides.
fn bucket(distance: i64, buckets: usize, reach: usize) -> usize {
    let half = buckets / 2;
    let later = if distance > 0 { half } else { 0 };
    let distance = distance.unsigned_abs() as usize;
    let exact = half / 2;
    if distance < exact {
        return later + distance;
    }
    let ratio = (distance as f32 / exact as f32).ln();
    let step = ratio / (reach as f64 / exact as f64).ln() as f32 * (half - exact) as f32;
    later + (exact + step as usize).min(half - 1)
}

#[cfg(test)]
mod tests {
    use super::{Bias, GridMlp, bucket};

    /// First distance of each bucket of earlier keys, as T5 in transformers 5.24 gives them.
    #[test]
    fn buckets_begin_where_they_do_in_t5() {
        let check = |buckets: usize, reach: usize, expected: &[usize]| {
            let firsts: Vec<usize> = (0..buckets / 2)
                .map(|wanted| (0..1000).find(|d| bucket(-(*d as i64), buckets, reach) == wanted).unwrap_or(0))
                .collect();
            assert_eq!(firsts, expected, "{buckets} {reach}");
            for distance in 1..1000 {
                let earlier = bucket(-distance, buckets, reach);
                assert_eq!(bucket(distance, buckets, reach), buckets / 2 + earlier, "{distance}");
            }
        };
        check(32, 128, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91]);
        check(33, 100, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 16, 21, 29, 39, 54, 73]);
        check(12, 50, &[0, 1, 2, 3, 8, 20]);
        check(8, 20, &[0, 1, 2, 7]);
        check(4, 3, &[0, 1]);
    }

    #[test]
    fn steps_on_a_grid_are_seen_down_and_across() {
        // The first head sees steps down that are positive, the second adds those across and 1.
        let mlp = GridMlp {
            hidden_weight: vec![1.0, 0.0, 0.0, 1.0],
            hidden_bias: vec![0.0; 2],
            weight: vec![1.0, 0.0, 1.0, 1.0],
            bias: vec![0.0, 1.0],
        };
        let bias = Bias::of_grid(&mlp, [2, 2], 1);
        // Of the class token, then of the patch below right: itself, below right, above right, above left.
        let found = bias.write(&[0, 4], &[0, 4, 2, 1]);
        let (one, two) = (2.0_f32.ln(), 2.0 * 2.0_f32.ln() + 1.0);
        assert_eq!(found[..8], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, one, one]);
        assert_eq!(found[8..], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, one + 1.0, two]);
        assert_eq!(bias.first(1, 5).queries, 5);
    }

    #[test]
    fn far_keys_share_the_last_bucket() {
        // Two heads, four buckets: here, before, never used, after.
        let bias = Bias::of_buckets(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], [4, 2], 3);
        let found = bias.write(&[1, 9], &[0, 1, 2, 9]);
        assert_eq!(found[..8], [2.0, 0.0, 6.0, 6.0, 2.0, 2.0, 2.0, 0.0]);
        assert_eq!(found[8..], [3.0, 1.0, 7.0, 7.0, 3.0, 3.0, 3.0, 1.0]);
    }
}
