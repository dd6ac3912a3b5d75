//! Attention over the samples of a batch, with keys that padding hides left out.

use std::ops::Range;

use clipway_kernels::{AttentionSpec, Kernels, Matrix, MatrixMut, Sequence};
use clipway_model::graph::Mask;

use super::batch::Batch;
use super::program::Rows;

/// Attends within each sample. `rows` are those of the queries and of the keys.
pub(super) fn attend(
    kernels: &Kernels,
    spec: &AttentionSpec<'_>,
    mask: Mask,
    batch: &Batch<'_>,
    rows: [Rows; 2],
    [q, k, v]: [Matrix<'_>; 3],
    out: MatrixMut<'_>,
) {
    let queries = |sample| batch.range(rows[0], sample);
    let keys = |sample| batch.range(rows[1], sample);
    let Mask::Padding { id, skip, causal } = mask else {
        let sequence = |sample| Sequence { queries: queries(sample), keys: keys(sample), position: 0 };
        let sequences: Vec<Sequence> = (0..batch.samples).map(sequence).collect();
        kernels.attention(spec, &sequences, q, k, v, out);
        return;
    };
    // Keys that are seen, one after the other, and the sequences over them.
    let mut seen = Vec::new();
    let mut sequences = Vec::new();
    for sample in 0..batch.samples {
        let start = seen.len();
        let ids = batch.ids(sample);
        let visible = |key: usize| key < skip || ids.get(key - skip).is_none_or(|&found| found != id);
        let keys = keys(sample);
        let places: Vec<usize> = (0..keys.len()).filter(|&key| visible(key)).collect();
        seen.extend(places.iter().map(|key| keys.start + key));
        if causal {
            causal_runs(queries(sample), &places, start, &mut sequences);
        } else {
            let keys = start..seen.len();
            sequences.push(Sequence { queries: queries(sample), keys, position: 0 });
        }
    }
    let gathered = [k, v].map(|matrix| {
        let mut rows = Vec::with_capacity(seen.len() * matrix.columns());
        seen.iter().for_each(|&row| rows.extend_from_slice(matrix.row(row)));
        rows
    });
    let [k, v] = [0, 1].map(|index| Matrix::new(&gathered[index], seen.len(), k.columns()));
    kernels.attention(spec, &sequences, q, k, v, out);
}

/// Sequences of a causal mask over visible keys only: queries at visible places follow one another as their keys
/// do; a query at a hidden place stands by itself. `start` is the row of the first visible key.
fn causal_runs(queries: Range<usize>, visible: &[usize], start: usize, sequences: &mut Vec<Sequence>) {
    let mut before = 0;
    let mut query = 0;
    while query < queries.len() {
        let first = query;
        if visible.get(before) == Some(&query) {
            while visible.get(before) == Some(&query) {
                before += 1;
                query += 1;
            }
        } else {
            query += 1;
        }
        let count = query - first;
        sequences.push(Sequence {
            queries: queries.start + first..queries.start + query,
            keys: start..start + before,
            position: before.saturating_sub(count),
        });
    }
}
