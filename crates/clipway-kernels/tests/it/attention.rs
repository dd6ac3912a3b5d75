use crate::{assert_close, for_each_kernels, numbers};
use clipway_kernels::{AttentionBias, AttentionSpec, Kernels, Matrix, MatrixMut, Sequence};

/// Attention as its definition says, in f64, with q, k and v side by side in rows of `3 * width`.
fn reference(spec: &AttentionSpec<'_>, sequences: &[Sequence], qkv: &[f32], out: &mut [f64]) {
    let width = spec.heads * spec.head_width;
    let value = |row: usize, column: usize| f64::from(qkv[row * 3 * width + column]);
    for Sequence { queries, keys, position } in sequences {
        for (index, query) in queries.clone().enumerate() {
            let place = position + index;
            let visible = if spec.causal { keys.len().min(place + 1) } else { keys.len() };
            for head in 0..spec.heads {
                let columns = head * spec.head_width..(head + 1) * spec.head_width;
                let mut weights = vec![0.0; visible];
                for (key, weight) in weights.iter_mut().enumerate() {
                    let product: f64 = columns
                        .clone()
                        .map(|column| value(query, column) * value(keys.start + key, width + column))
                        .sum();
                    *weight = product * f64::from(spec.scale);
                    if let Some(bias) = spec.bias {
                        *weight += f64::from(bias.values[(head * bias.queries + place) * bias.keys + key]);
                    }
                }
                let max = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = weights.iter().map(|weight| (weight - max).exp()).sum();
                for column in columns {
                    let terms = weights.iter().enumerate().map(|(key, weight)| {
                        (weight - max).exp() / sum * value(keys.start + key, 2 * width + column)
                    });
                    out[query * width + column] = terms.sum();
                }
            }
        }
    }
}

fn check(kernels: &Kernels, spec: &AttentionSpec<'_>, sequences: &[Sequence], rows: usize) {
    let width = spec.heads * spec.head_width;
    let mut qkv = numbers(rows * 3 * width, 1);
    qkv.iter_mut().for_each(|value| *value *= 3.0);
    // Rows of no sequence are left as they were.
    let mut out = vec![7.0; rows * width];
    let mut expected = vec![7.0; rows * width];
    let view = |part: usize| Matrix::with_stride(&qkv[part * width..], rows, width, 3 * width);
    let target = MatrixMut::new(&mut out, rows, width);
    kernels.attention(spec, sequences, view(0), view(1), view(2), target);
    reference(spec, sequences, &qkv, &mut expected);
    // Scores reach 20 or so, and their rounding passes through the exponential.
    assert_close(&out, &expected, 4e-6, &format!("{kernels:?} {spec:?} {sequences:?}"));
}

fn spec(heads: usize, head_width: usize, causal: bool) -> AttentionSpec<'static> {
    AttentionSpec { heads, head_width, scale: (head_width as f32).powf(-0.5), causal, bias: None }
}

#[test]
fn batches_of_one_length() {
    for_each_kernels(|kernels| {
        for length in [1, 2, 7, 8, 9, 16, 17, 49, 50, 77, 300] {
            for (heads, head_width) in [(1, 64), (3, 8), (2, 72), (2, 5)] {
                for causal in [false, true] {
                    let sequences = Sequence::batch(2, length);
                    check(kernels, &spec(heads, head_width, causal), &sequences, 2 * length);
                }
            }
        }
    });
}

#[test]
fn ragged_batches_queries_apart_and_biases() {
    for_each_kernels(|kernels| {
        let ragged = [
            Sequence::of(1..12),
            Sequence { queries: 12..13, keys: 12..40, position: 5 },
            Sequence { queries: 20..30, keys: 0..50, position: 30 },
            Sequence { queries: 30..30, keys: 30..31, position: 0 },
            Sequence { queries: 31..33, keys: 8..8, position: 0 },
            Sequence::of(40..60),
        ];
        let bias = numbers(3 * 40 * 50, 9);
        for causal in [false, true] {
            let spec = spec(3, 24, causal);
            check(kernels, &spec, &ragged, 61);
            let bias = AttentionBias { values: &bias, queries: 40, keys: 50 };
            check(kernels, &AttentionSpec { bias: Some(bias), ..spec }, &ragged, 61);
        }
    });
}

#[test]
fn scores_of_any_size_and_hidden_keys() {
    for_each_kernels(|kernels| {
        // A bias of minus infinity hides a key; a scale of 1000 would overflow without the row's maximum.
        let mut bias = vec![0.0; 20 * 20];
        bias.iter_mut().step_by(3).skip(1).for_each(|value| *value = f32::NEG_INFINITY);
        let bias = AttentionBias { values: &bias, queries: 20, keys: 20 };
        let spec = AttentionSpec { scale: 1000.0, bias: Some(bias), ..spec(1, 16, false) };
        let width = 16;
        let qkv: Vec<f32> =
            numbers(20 * 3 * width, 1).iter().map(|value| (value * 8.0).round() / 8.0).collect();
        let view = |part: usize| Matrix::with_stride(&qkv[part * width..], 20, width, 3 * width);
        let mut out = vec![0.0; 20 * width];
        let target = MatrixMut::new(&mut out, 20, width);
        kernels.attention(&spec, &[Sequence::of(0..20)], view(0), view(1), view(2), target);
        let mut expected = vec![0.0; 20 * width];
        reference(&spec, &[Sequence::of(0..20)], &qkv, &mut expected);
        assert_close(&out, &expected, 1e-6, &format!("{kernels:?}"));
    });
}

#[test]
#[should_panic(expected = "queries are in order")]
fn sequences_that_overlap_are_refused() {
    let kernels = Kernels::new(clipway_kernels::Isa::Portable, 1).expect("no threads to start");
    check(&kernels, &spec(1, 4, false), &[Sequence::of(0..4), Sequence::of(3..6)], 6);
}
