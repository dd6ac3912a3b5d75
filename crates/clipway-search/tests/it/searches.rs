//! What a search finds.

use clipway_search::{Filter, Index, Item, PathPattern, Ranking, SearchOptions, Writer};

use crate::{Draw, code, fill, item, name, new_index, processor};

/// Cosines in f64.
fn truth(features: &[f32], query: &[f32]) -> Vec<f64> {
    let length = |values: &[f32]| values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    let cosine = |row: &[f32]| {
        let product: f64 = row.iter().zip(query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        product / (length(row) * length(query))
    };
    features.chunks_exact(query.len()).map(cosine).collect()
}

/// The best rows by the truth.
fn best(truth: &[f64], most: usize) -> Vec<u64> {
    let mut rows: Vec<u64> = (0..truth.len() as u64).collect();
    rows.sort_by(|a, b| truth[*b as usize].total_cmp(&truth[*a as usize]).then(a.cmp(b)));
    rows.truncate(most);
    rows
}

fn rows(ranking: &Ranking) -> Vec<u64> {
    ranking.hits.iter().map(|hit| hit.row).collect()
}

/// Features in a few directions and noise, as real ones are.
fn low_rank(draw: &mut Draw, count: usize, width: usize) -> Vec<f32> {
    let directions = draw.feature(20 * width);
    let mut features = Vec::new();
    for _ in 0..count {
        let weights = draw.feature(20);
        let noise = draw.feature(width);
        features.extend((0..width).map(|value| {
            let sum: f32 =
                weights.iter().enumerate().map(|(at, weight)| weight * directions[at * width + value]).sum();
            sum + noise[value]
        }));
    }
    features
}

#[test]
fn the_nearest_rows_are_found_with_their_cosines() {
    let (width, count) = (72, 4000);
    let mut draw = Draw(1);
    let features = low_rank(&mut draw, count, width);
    let (_folder, path) = new_index(width);
    fill(&path, &features);
    let mut index = Index::open(&path).unwrap();
    let queries = low_rank(&mut draw, 70, width);
    let options = SearchOptions::default();
    let found = index.search(&processor(1), &queries, &options).unwrap();
    let mut same = 0;
    for (query, ranking) in queries.chunks_exact(width).zip(&found) {
        let truth = truth(&features, query);
        let expected = best(&truth, 10);
        same += rows(ranking).iter().filter(|row| expected.contains(row)).count();
        for hit in &ranking.hits {
            assert!((f64::from(hit.cosine) - truth[hit.row as usize]).abs() < 5e-4, "{hit:?}");
        }
        assert!(ranking.hits.windows(2).all(|pair| pair[0].cosine >= pair[1].cosine));
        // The calibrated score is what the cosines of the whole index give, but for the rounding of the query to int8.
        let mean = truth.iter().sum::<f64>() / count as f64;
        let variance = truth.iter().map(|cosine| (cosine - mean).powi(2)).sum::<f64>() / count as f64;
        assert!((ranking.mean - mean).abs() < 1e-3, "{} {mean}", ranking.mean);
        assert!((ranking.deviation - variance.sqrt()).abs() < 1e-3);
        let hit = ranking.hits[0];
        let score = (f64::from(hit.cosine) - ranking.mean) / ranking.deviation;
        assert!((f64::from(hit.score) - score).abs() < 1e-4);
    }
    assert!(same >= 699, "recall {same} of 700");
    // Threads, batches and memory change nothing.
    assert_eq!(index.search(&processor(3), &queries, &options).unwrap(), found);
    for (query, ranking) in queries.chunks_exact(width).zip(&found).take(5) {
        assert_eq!(index.search(&processor(2), query, &options).unwrap(), std::slice::from_ref(ranking));
    }
    index.hold(10).unwrap();
    assert_eq!(index.search(&processor(2), &queries, &options).unwrap(), found);
    index.hold(u64::MAX).unwrap();
    assert_eq!(index.search(&processor(2), &queries, &options).unwrap(), found);
}

#[test]
fn of_equal_rows_the_lower_comes_first() {
    let width = 16;
    let (_folder, path) = new_index(width);
    let one = Draw(5).feature(width);
    let other = Draw(6).feature(width);
    // 700 rows of two kinds, more than one block has at this width.
    let features: Vec<f32> =
        (0..9000).flat_map(|row| if row % 3 == 0 { one.clone() } else { other.clone() }).collect();
    fill(&path, &features);
    let index = Index::open(&path).unwrap();
    let options = SearchOptions { limit: 500, ..SearchOptions::default() };
    for threads in [1, 2, 5] {
        let found = index.search(&processor(threads), &one, &options).unwrap();
        assert_eq!(rows(&found[0]), (0..500).map(|row| 3 * row).collect::<Vec<u64>>(), "{threads} threads");
    }
}

#[test]
fn a_filter_comes_before_the_ranking() {
    let (width, count) = (32, 3000);
    let features = Draw(7).feature(count * width);
    let (_folder, path) = new_index(width);
    let mut writer = Writer::open(&path).unwrap();
    for (number, feature) in features.chunks_exact(width).enumerate() {
        let item = Item {
            width: if number % 100 == 7 { 2000 } else { 640 },
            taken: (number % 2 == 0).then_some(number as i64),
            modified_ns: number as i64 * 1_000_000_000,
            ..item(number)
        };
        writer.put(&name(number), &item, Some(feature)).unwrap();
    }
    writer.remove(&name(107)).unwrap();
    writer.commit().unwrap();
    let index = Index::open(&path).unwrap();
    let query = Draw(8).feature(width);
    let truth = truth(&features, &query);
    let check = |filter: Filter, passes: &dyn Fn(u64) -> bool| {
        let options = SearchOptions { filter, ..SearchOptions::default() };
        let found = index.search(&processor(2), &query, &options).unwrap();
        let expected: Vec<u64> =
            best(&truth, count).into_iter().filter(|row| passes(*row) && *row != 107).take(10).collect();
        assert_eq!(rows(&found[0]), expected, "{:?}", options.filter);
        (found[0].mean, found[0].deviation)
    };
    let all = check(Filter::default(), &|_| true);
    let wide = check(Filter { min_size: (1000, 0), ..Filter::default() }, &|row| row % 100 == 7);
    assert_eq!(wide, all, "the score is calibrated on the whole index");
    let paths = vec![PathPattern::new("*/00001?.jpg").unwrap()];
    check(Filter { paths, ..Filter::default() }, &|row| (10..20).contains(&row));
    let dates = Filter { after: Some(500), before: Some(505), ..Filter::default() };
    check(dates, &|row| (500..505).contains(&row));
    check(Filter { after: Some(1 << 40), ..Filter::default() }, &|_| false);
}

#[test]
fn results_can_be_cut_off() {
    let (_folder, path) = new_index(2);
    let angles = [0.0_f32, 0.1, 0.2, 1.2, 1.3, 1.4, 1.5];
    let features: Vec<f32> = angles.iter().flat_map(|angle| [angle.cos(), angle.sin()]).collect();
    fill(&path, &features);
    let index = Index::open(&path).unwrap();
    let search = |options: SearchOptions| {
        let found = index.search(&processor(1), &[1.0, 0.0], &options).unwrap();
        (rows(&found[0]), found[0].hits.iter().map(|hit| hit.score).collect::<Vec<f32>>())
    };
    let (all, scores) = search(SearchOptions::default());
    assert_eq!(all, [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(search(SearchOptions { until_gap: true, ..SearchOptions::default() }).0, [0, 1, 2]);
    let min_score = Some(scores[4]);
    assert_eq!(search(SearchOptions { min_score, ..SearchOptions::default() }).0, [0, 1, 2, 3, 4]);
    assert_eq!(search(SearchOptions { limit: 2, ..SearchOptions::default() }).0, [0, 1]);
    assert_eq!(search(SearchOptions { limit: 0, ..SearchOptions::default() }).0, [0_u64; 0]);
}

#[test]
fn queries_that_mean_nothing_are_refused() {
    let (_folder, path) = new_index(4);
    let index = Index::open(&path).unwrap();
    let search = |query: &[f32]| index.search(&processor(1), query, &SearchOptions::default());
    // An empty index has no results.
    assert_eq!(search(&[1.0; 8]).unwrap()[1].hits, []);
    assert_eq!(code(search(&[])), "shape-mismatch");
    assert_eq!(code(search(&[1.0; 5])), "shape-mismatch");
    assert_eq!(code(search(&[0.0; 4])), "not-finite");
    assert_eq!(code(search(&[f32::NAN, 0.0, 0.0, 0.0])), "not-finite");
    let many = SearchOptions { limit: usize::MAX, ..SearchOptions::default() };
    assert_eq!(code(index.search(&processor(1), &[1.0; 4], &many)), "too-large");
}
