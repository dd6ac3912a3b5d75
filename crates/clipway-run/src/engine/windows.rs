//! Attention within windows of a map; windows that hide the same pairs are computed together.

use clipway_kernels::{AttentionBias, AttentionSpec, Kernels, Matrix, MatrixMut, Sequence};
use clipway_model::graph::{Windows, grid_steps};

/// Subtracted from the score of a query and a key that were not neighbors before the shift, as in timm.
const APART: f32 = 100.0;

/// The windows of a map with the biases of their scores.
pub(super) struct WindowBias {
    area: usize,
    tokens: usize,
    kinds: Vec<Kind>,
}

/// Windows with the same biases.
struct Kind {
    /// Which of a sample's windows.
    windows: Vec<usize>,
    /// `[heads, queries, keys]`.
    values: Vec<f32>,
}

impl WindowBias {
    /// Computes the bias from a table `[distances, heads]`.
    pub fn new(windows: &Windows, table: &[f32], heads: usize) -> WindowBias {
        let area = windows.area();
        let steps = grid_steps(windows.window);
        let regions = windows.regions();
        let mut kinds: Vec<(Vec<bool>, Kind)> = Vec::new();
        for (window, regions) in regions.chunks_exact(area).enumerate() {
            let apart: Vec<bool> =
                regions.iter().flat_map(|query| regions.iter().map(move |key| query != key)).collect();
            if let Some((_, kind)) = kinds.iter_mut().find(|(known, _)| *known == apart) {
                kind.windows.push(window);
                continue;
            }
            let entry = |head: usize| {
                let lowered = |apart: bool| if apart { APART } else { 0.0 };
                steps
                    .iter()
                    .zip(&apart)
                    .map(move |(entry, &apart)| table[entry * heads + head] - lowered(apart))
            };
            let values = (0..heads).flat_map(entry).collect();
            kinds.push((apart, Kind { windows: vec![window], values }));
        }
        let kinds = kinds.into_iter().map(|(_, kind)| kind).collect();
        WindowBias { area, tokens: area * windows.count(), kinds }
    }

    /// Attends within the windows of this many samples.
    pub fn attend(
        &self,
        kernels: &Kernels,
        spec: &AttentionSpec<'_>,
        samples: usize,
        [q, k, v]: [Matrix<'_>; 3],
        out: &mut [f32],
    ) {
        for Kind { windows, values } in &self.kinds {
            let rows = (0..samples).flat_map(|sample| {
                windows.iter().map(move |window| sample * self.tokens + window * self.area)
            });
            let sequences: Vec<Sequence> = rows.map(|first| Sequence::of(first..first + self.area)).collect();
            let bias = Some(AttentionBias { values, queries: self.area, keys: self.area });
            let out = MatrixMut::new(out, q.rows(), q.columns());
            kernels.attention(&AttentionSpec { bias, ..*spec }, &sequences, q, k, v, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::WindowBias;
    use clipway_model::graph::Windows;

    #[test]
    fn windows_at_the_edges_hide_what_was_turned_in() {
        let windows = Windows { map: [4, 4], window: [2, 2], shift: [1, 1] };
        let table: Vec<f32> = (0..9).map(|entry| entry as f32).collect();
        let bias = WindowBias::new(&windows, &table, 1);
        assert_eq!(
            bias.kinds.iter().map(|kind| kind.windows.clone()).collect::<Vec<_>>(),
            [[0], [1], [2], [3]]
        );
        let first_row = |kind: usize| &bias.kinds[kind].values[..4];
        assert_eq!(first_row(0), [4.0, 3.0, 1.0, 0.0]);
        // Right, lower and lower right edge: neighbors are in the same column, in the same row, and none.
        assert_eq!(first_row(1), [4.0, -97.0, 1.0, -100.0]);
        assert_eq!(first_row(2), [4.0, 3.0, -99.0, -100.0]);
        assert_eq!(first_row(3), [4.0, -97.0, -99.0, -100.0]);
        let unshifted = WindowBias::new(&Windows { shift: [0, 0], ..windows }, &table, 1);
        assert_eq!((unshifted.kinds.len(), &unshifted.kinds[0].windows[..]), (1, &[0, 1, 2, 3][..]));
    }
}
