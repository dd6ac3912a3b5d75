use crate::draw::Draw;
use clipway_kernels::{Int8Path, Isa, Kernels, RowScores};

/// What plain integers give.
fn expected(
    rows: &[u8],
    scales: &[f32],
    queries: &[i8],
    width: usize,
    thresholds: &[f32],
) -> (Vec<f32>, Vec<u32>) {
    let stride = width.next_multiple_of(64);
    let mut scores = Vec::new();
    for (row, scale) in rows.chunks_exact(stride).zip(scales) {
        for query in queries.chunks_exact(width) {
            let products = row.iter().zip(query).map(|(r, q)| i32::from(*r as i8) * i32::from(*q));
            scores.push(products.sum::<i32>() as f32 * scale);
        }
    }
    let above = scores.iter().enumerate();
    let above = above.filter(|(place, score)| **score > thresholds[place % thresholds.len()]);
    let above = above.map(|(place, _)| place as u32).collect();
    (scores, above)
}

#[test]
fn scores_are_those_of_integers_on_every_path() {
    let paths: Vec<Kernels> = Int8Path::available()
        .into_iter()
        .map(|path| Kernels::new(Isa::detect(), 1).and_then(|kernels| kernels.with_int8_path(path)))
        .collect::<Result<_, _>>()
        .expect("available");
    assert!(paths.len() >= 2, "a path beside the portable one");
    let mut draw = Draw(1);
    for case in 0..600 {
        let most = if case % 100 == 0 { [300, 700, 64] } else { [40, 150, 12] };
        let [rows, width, count] = most.map(|most| draw.below(most) + 1);
        let mut bytes: Vec<u8> = (0..rows * width.next_multiple_of(64)).map(|_| draw.int8() as u8).collect();
        let mut queries: Vec<i8> = (0..count * width).map(|_| draw.int8()).collect();
        match draw.below(6) {
            0 => bytes.fill(128),
            1 => bytes.fill(127),
            _ => {}
        }
        match draw.below(6) {
            0 => queries.fill(-128),
            1 => queries.fill(127),
            2 => queries.fill(0),
            _ => {}
        }
        let scales: Vec<f32> = (0..rows).map(|_| draw.below(1000) as f32 / 7e3).collect();
        let thresholds: Vec<f32> = (0..count).map(|_| draw.below(1000) as f32 - 500.0).collect();
        let (scores, above) = expected(&bytes, &scales, &queries, width, &thresholds);
        let mut first: Option<RowScores> = None;
        for kernels in &paths {
            let name = format!("{:?} [{rows}, {width}], {count} queries", kernels.int8_path());
            let packed = kernels.scan_queries(&queries, width);
            assert_eq!(packed.count(), count);
            // What an earlier scan left does not matter.
            let mut found = RowScores { scores: vec![7.0; 3], above: vec![9], ..RowScores::default() };
            kernels.scan(&bytes, &scales, &packed, &thresholds, &mut found);
            assert_eq!(found.scores, scores, "{name}");
            assert_eq!(found.above, above, "{name}");
            for query in 0..count {
                let of_query = || scores.iter().skip(query).step_by(count).map(|score| f64::from(*score));
                let (sum, square): (f64, f64) =
                    (of_query().sum(), of_query().map(|score| score * score).sum());
                let size = of_query().map(f64::abs).sum::<f64>();
                assert!((found.sums[query] - sum).abs() <= 1e-5 * size, "{name}");
                assert!((found.squares[query] - square).abs() <= 1e-5 * square, "{name}");
            }
            let first = first.get_or_insert_with(|| found.clone());
            assert_eq!((&found.sums, &found.squares), (&first.sums, &first.squares), "{name}");
        }
    }
}

#[test]
fn a_row_does_not_depend_on_its_neighbors() {
    let kernels = Kernels::new(Isa::detect(), 1).expect("no threads");
    let mut draw = Draw(2);
    let (rows, width) = (37, 100);
    let bytes: Vec<u8> = (0..rows * 128).map(|_| draw.int8() as u8).collect();
    for count in [1, 4, 5, 64] {
        let queries: Vec<i8> = (0..count * width).map(|_| draw.int8()).collect();
        let packed = kernels.scan_queries(&queries, width);
        let (mut all, mut one) = (RowScores::default(), RowScores::default());
        kernels.scan(&bytes, &vec![1.0; rows], &packed, &vec![0.0; count], &mut all);
        for row in 0..rows {
            kernels.scan(&bytes[row * 128..][..128], &[1.0], &packed, &vec![0.0; count], &mut one);
            assert_eq!(one.scores, all.scores[row * count..][..count], "row {row}, {count} queries");
        }
    }
}

#[test]
fn wide_rows_and_every_number_of_panels() {
    let mut draw = Draw(3);
    for (rows, width, count) in
        [(25, 512_usize, 64), (13, 513, 33), (12, 1094, 5), (1, 2048, 48), (49, 64, 97)]
    {
        let bytes: Vec<u8> = (0..rows * width.next_multiple_of(64)).map(|_| draw.int8() as u8).collect();
        let queries: Vec<i8> = (0..count * width).map(|_| draw.int8()).collect();
        let (scales, thresholds) = (vec![0.25; rows], vec![1e3; count]);
        let (scores, above) = expected(&bytes, &scales, &queries, width, &thresholds);
        for path in Int8Path::available() {
            let kernels = Kernels::new(Isa::detect(), 1).and_then(|kernels| kernels.with_int8_path(path));
            let kernels = kernels.expect("available");
            let mut found = RowScores::default();
            kernels.scan(&bytes, &scales, &kernels.scan_queries(&queries, width), &thresholds, &mut found);
            assert_eq!(found.scores, scores, "{path:?} [{rows}, {width}], {count} queries");
            assert_eq!(found.above, above, "{path:?} [{rows}, {width}], {count} queries");
        }
    }
}
