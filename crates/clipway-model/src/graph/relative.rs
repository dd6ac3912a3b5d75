//! Values that depend on distances: between tokens, on a grid of patches, and along a text.

use super::windows::grid_steps;

/// The bucket of a distance (key minus query) in T5's scheme; see
/// [`AttentionBias::Buckets`](super::AttentionBias::Buckets).
///
/// Computed in f32, as in training: for a distance on the border of two buckets, rounding decides.
pub fn distance_bucket(distance: i64, buckets: usize, reach: usize) -> usize {
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

/// The frequencies of the sinusoids for a width, half as many; see
/// [`TextPositions::Sinusoids`](super::TextPositions::Sinusoids).
///
/// Computed in f32 step by step, as in training: at high positions, the frequencies' rounding matters.
pub fn sinusoid_frequencies(width: usize) -> Vec<f32> {
    let half = width / 2;
    let step = -(10_000f64.ln() / (half as f64 - 1.0)) as f32;
    (0..half).map(|index| f64::from(index as f32 * step).exp() as f32).collect()
}

/// An MLP from relative grid positions to one number per head; see
/// [`AttentionBias::GridMlp`](super::AttentionBias::GridMlp).
#[derive(Clone, Debug, PartialEq)]
pub struct GridMlp {
    /// `[hidden, 2]`.
    pub hidden_weight: Vec<f32>,
    /// `[hidden]`.
    pub hidden_bias: Vec<f32>,
    /// `[heads, hidden]`.
    pub weight: Vec<f32>,
    /// `[heads]`.
    pub bias: Vec<f32>,
}

impl GridMlp {
    /// Bias of the scores, `[heads, tokens, tokens]`, for the patches of a grid after `skip` other tokens, which get no
    /// bias.
    pub fn pairs(&self, [rows, columns]: [usize; 2], skip: usize) -> Vec<f32> {
        let heads = self.bias.len();
        let tokens = skip + rows * columns;
        let mut values = vec![0.0; heads * tokens * tokens];
        // Many pairs of patches share the same relative position.
        let across = 2 * columns - 1;
        let steps = (0..(2 * rows - 1) * across).map(|step| {
            let (down, right) = (step / across, step % across);
            self.run([down as f32 - (rows - 1) as f32, right as f32 - (columns - 1) as f32])
        });
        let steps: Vec<Vec<f32>> = steps.collect();
        let patches = rows * columns;
        for (pair, step) in grid_steps([rows, columns]).into_iter().enumerate() {
            let (query, key) = (pair / patches, pair % patches);
            for (head, value) in steps[step].iter().enumerate() {
                values[(head * tokens + skip + query) * tokens + skip + key] = *value;
            }
        }
        values
    }

    /// The numbers of a relative position, in f64 except for the coordinates, which are f32 as in training.
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

#[cfg(test)]
mod tests {
    use super::distance_bucket;

    /// First distance of each bucket of earlier keys, as given by T5 in transformers 5.24.
    #[test]
    fn buckets_begin_where_they_do_in_t5() {
        let check = |buckets: usize, reach: usize, expected: &[usize]| {
            let bucket = |distance| distance_bucket(distance, buckets, reach);
            let firsts: Vec<usize> = (0..buckets / 2)
                .map(|wanted| (0..1000).find(|d| bucket(-(*d as i64)) == wanted).unwrap_or(0))
                .collect();
            assert_eq!(firsts, expected, "{buckets} {reach}");
            for distance in 1..1000 {
                assert_eq!(bucket(distance), buckets / 2 + bucket(-distance), "{distance}");
            }
        };
        check(32, 128, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91]);
        check(33, 100, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 16, 21, 29, 39, 54, 73]);
        check(12, 50, &[0, 1, 2, 3, 8, 20]);
        check(8, 20, &[0, 1, 2, 7]);
        check(4, 3, &[0, 1]);
    }
}
