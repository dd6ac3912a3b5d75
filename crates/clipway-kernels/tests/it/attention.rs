use crate::{assert_close, for_each_kernels, numbers};
use clipway_kernels::{AttentionBias, AttentionSpec, Kernels, Matrix, MatrixMut, Rotary, Sequence};

/// Attention by its definition, in f64, with q, k and v side by side in rows of `3 * width`.
fn reference(spec: &AttentionSpec<'_>, sequences: &[Sequence], qkv: &[f32], out: &mut [f64]) {
    let width = spec.heads * spec.head_width;
    let plain = |row: usize, column: usize| f64::from(qkv[row * 3 * width + column]);
    let turned = |row: usize, column: usize, position: usize| {
        let Some(rotary) = spec.rotary else { return plain(row, column) };
        let (place, half) = (column % spec.head_width, spec.head_width / 2);
        let (pair, first, partner) = match rotary.halves {
            true if place < half => (place, true, column + half),
            true => (place - half, false, column - half),
            false => (place / 2, place % 2 == 0, column ^ 1),
        };
        let [cosine, sine] =
            [rotary.cosines, rotary.sines].map(|table| f64::from(table[position * half + pair]));
        let sign = if first { -1.0 } else { 1.0 };
        plain(row, column) * cosine + sign * plain(row, partner) * sine
    };
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
                        .map(|column| {
                            turned(query, column, place) * turned(keys.start + key, width + column, key)
                        })
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
                        (weight - max).exp() / sum * plain(keys.start + key, 2 * width + column)
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
    // Rows outside every sequence keep their contents.
    let mut out = vec![7.0; rows * width];
    let mut expected = vec![7.0; rows * width];
    let view = |part: usize| Matrix::with_stride(&qkv[part * width..], rows, width, 3 * width);
    let target = MatrixMut::new(&mut out, rows, width);
    kernels.attention(spec, sequences, view(0), view(1), view(2), target);
    reference(spec, sequences, &qkv, &mut expected);
    // Scores reach about 20, and the exponential amplifies their rounding.
    assert_close(&out, &expected, 4e-6, &format!("{kernels:?} {spec:?} {sequences:?}"));
}

fn spec(heads: usize, head_width: usize, causal: bool) -> AttentionSpec<'static> {
    AttentionSpec {
        heads,
        head_width,
        scale: (head_width as f32).powf(-0.5),
        causal,
        bias: None,
        rotary: None,
    }
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
fn heads_are_turned_by_their_positions() {
    for_each_kernels(|kernels| {
        let sequences = [
            Sequence::of(0..19),
            Sequence { queries: 19..20, keys: 20..50, position: 7 },
            Sequence { queries: 20..31, keys: 20..50, position: 9 },
        ];
        for head_width in [4, 16, 72] {
            let angles = numbers(30 * head_width / 2, 3);
            let cosines: Vec<f32> = angles.iter().map(|angle| (5.0 * angle).cos()).collect();
            let sines: Vec<f32> = angles.iter().map(|angle| (5.0 * angle).sin()).collect();
            for halves in [false, true] {
                let rotary = Rotary { cosines: &cosines, sines: &sines, halves };
                let spec = AttentionSpec { rotary: Some(rotary), ..spec(2, head_width, false) };
                check(kernels, &spec, &sequences, 50);
            }
        }
    });
}

#[test]
fn rows_are_turned_in_place() {
    for_each_kernels(|kernels| {
        // A quarter turn at the second position, nothing at the first.
        let (cosines, sines) = ([1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]);
        let before = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        for (halves, after) in [(false, [-2.0, 1.0, -4.0, 3.0]), (true, [-3.0, -4.0, 1.0, 2.0])] {
            let mut rows: Vec<f32> = before[..4].iter().chain(&before[..4]).copied().collect();
            let rotary = Rotary { cosines: &cosines, sines: &sines, halves };
            kernels.rotate(rotary, 4, 2, MatrixMut::new(&mut rows, 2, 4));
            assert_eq!((&rows[..4], &rows[4..]), (&before[..4], &after[..]), "{halves}");
        }
    });
}

#[test]
fn scores_of_any_size_and_hidden_keys() {
    for_each_kernels(|kernels| {
        // A bias of minus infinity hides a key; a scale of 1000 would overflow without subtracting the row maximum.
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
