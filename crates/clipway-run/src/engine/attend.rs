//! Attention over the samples of a batch, skipping keys hidden by padding.

use std::ops::Range;

use clipway_kernels::{AttentionBias, AttentionSpec, Kernels, Matrix, MatrixMut, Sequence};
use clipway_model::graph::Mask;

use super::batch::Batch;
use super::bias::{Bias, Written};
use super::shape::Rows;

/// Which keys the queries see.
pub(super) struct Sight<'a> {
    pub mask: Mask,
    pub bias: Option<&'a Bias>,
}

/// Attends within each sample. `rows` are the numbers of queries and keys.
pub(super) fn attend(
    kernels: &Kernels,
    spec: &AttentionSpec<'_>,
    sight: &Sight<'_>,
    batch: &Batch<'_>,
    rows: [Rows; 2],
    [q, k, v]: [Matrix<'_>; 3],
    out: &mut [f32],
) {
    let queries = |sample| batch.range(rows[0], sample);
    let keys = |sample| batch.range(rows[1], sample);
    let Mask::Padding { id, skip, causal } = sight.mask else {
        let sequence = |sample| Sequence { queries: queries(sample), keys: keys(sample), position: 0 };
        let sequences: Vec<Sequence> = (0..batch.samples).map(sequence).collect();
        run(kernels, spec, sight.bias, &sequences, [q, k, v], out);
        return;
    };
    // The positions of the keys that each sample sees.
    let visible = |sample: usize| -> Vec<usize> {
        let ids = batch.ids(sample);
        let visible = |key: &usize| *key < skip || ids.get(key - skip).is_none_or(|&found| found != id);
        (0..keys(sample).len()).filter(visible).collect()
    };
    let visible: Vec<Vec<usize>> = (0..batch.samples).map(visible).collect();
    let sequences = |starts: &dyn Fn(usize) -> usize| {
        let mut sequences = Vec::new();
        for (sample, places) in visible.iter().enumerate() {
            let start = starts(sample);
            if causal {
                causal_runs(queries(sample), places, start, &mut sequences);
            } else {
                let keys = start..start + places.len();
                sequences.push(Sequence { queries: queries(sample), keys, position: 0 });
            }
        }
        sequences
    };
    // If padding comes last, the visible keys are contiguous.
    if visible.iter().all(|places| places.last().is_none_or(|last| last + 1 == places.len())) {
        run(kernels, spec, sight.bias, &sequences(&|sample| keys(sample).start), [q, k, v], out);
        return;
    }
    let seen: Vec<usize> = (0..batch.samples)
        .flat_map(|sample| visible[sample].iter().map(move |key| keys(sample).start + key))
        .collect();
    let gathered = [k, v].map(|matrix| {
        let mut rows = Vec::with_capacity(seen.len() * matrix.columns());
        seen.iter().for_each(|&row| rows.extend_from_slice(matrix.row(row)));
        rows
    });
    let [k, v] = [0, 1].map(|index| Matrix::new(&gathered[index], seen.len(), k.columns()));
    let before = |sample: usize| visible[..sample].iter().map(Vec::len).sum();
    let sequences = sequences(&before);
    let Some(bias) = sight.bias else {
        kernels.attention(spec, &sequences, q, k, v, matrix(out, q));
        return;
    };
    // Each sample has its own keys and so its own part of the bias; a bias never occurs with a causal mask.
    for (sequence, keys) in sequences.into_iter().zip(&visible) {
        let queries = sequence.queries.len();
        let values = bias.write(&places(queries), keys);
        let bias = Some(AttentionBias { values: &values, queries, keys: keys.len() });
        kernels.attention(&AttentionSpec { bias, ..*spec }, &[sequence], q, k, v, matrix(out, q));
    }
}

fn places(count: usize) -> Vec<usize> {
    (0..count).collect()
}

/// The output: a row of `q`'s width for each query.
fn matrix<'a>(out: &'a mut [f32], q: Matrix<'_>) -> MatrixMut<'a> {
    MatrixMut::new(out, q.rows(), q.columns())
}

/// Attends to contiguous keys from the first position of their sample.
fn run(
    kernels: &Kernels,
    spec: &AttentionSpec<'_>,
    bias: Option<&Bias>,
    sequences: &[Sequence],
    [q, k, v]: [Matrix<'_>; 3],
    out: &mut [f32],
) {
    let Some(bias) = bias else {
        kernels.attention(spec, sequences, q, k, v, matrix(out, q));
        return;
    };
    let longest = |length: fn(&Sequence) -> usize| sequences.iter().map(length).max().unwrap_or(0);
    let queries = longest(|sequence| sequence.queries.len());
    let keys = longest(|sequence| sequence.keys.len());
    let Written { values, queries, keys } = bias.first(queries, keys);
    let bias = Some(AttentionBias { values: &values, queries, keys });
    kernels.attention(&AttentionSpec { bias, ..*spec }, sequences, q, k, v, matrix(out, q));
}

/// Sequences for a causal mask over visible keys only: queries at visible positions follow one another like their keys;
/// a query at a hidden position is separate. `start` is the row of the first visible key.
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
