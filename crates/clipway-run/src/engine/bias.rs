//! What attentions add to their scores, by head, query and key.

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
}

impl Bias {
    /// T5's bias from its table `[buckets, heads]`; see `clipway_model::graph::AttentionBias::Buckets`.
    pub fn of_buckets(table: &[f32], [buckets, heads]: [usize; 2], reach: usize) -> Bias {
        let rows = (0..=2 * reach).map(|place| bucket(place as i64 - reach as i64, buckets, reach));
        let rows: Vec<usize> = rows.collect();
        let values = (0..heads).flat_map(|head| rows.iter().map(move |row| table[row * heads + head]));
        Bias::Distances { values: values.collect(), reach }
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
        }
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
    use super::{Bias, bucket};

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
    fn far_keys_share_the_last_bucket() {
        // Two heads, four buckets: here, before, never used, after.
        let bias = Bias::of_buckets(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], [4, 2], 3);
        let found = bias.write(&[1, 9], &[0, 1, 2, 9]);
        assert_eq!(found[..8], [2.0, 0.0, 6.0, 6.0, 2.0, 2.0, 2.0, 0.0]);
        assert_eq!(found[8..], [3.0, 1.0, 7.0, 7.0, 3.0, 3.0, 3.0, 1.0]);
    }
}
