//! Duplicates.

use std::path::Path;

use clipway_search::{DuplicateOptions, Index, Writer};

use crate::{Draw, code, item, name, new_index, processor};

#[test]
fn planted_duplicates_are_found_and_nothing_else() {
    let (width, count) = (64, 1500);
    let mut draw = Draw(1);
    let mut features: Vec<Vec<f32>> = (0..count).map(|_| draw.feature(width)).collect();
    // Pairs far apart and close together, and a chain of three.
    let planted = [(3, 1400), (5, 6), (63, 64), (700, 701), (701, 1499)];
    for (one, other) in planted {
        let length = features[one].iter().map(|value| value * value).sum::<f32>().sqrt();
        // About a cosine of 0.97.
        let noise = draw.feature(width);
        let noise_length = noise.iter().map(|value| value * value).sum::<f32>().sqrt();
        features[other] =
            (0..width).map(|at| features[one][at] + noise[at] * 0.25 * length / noise_length).collect();
    }
    let (_folder, path) = new_index(width);
    let mut writer = Writer::open(&path).unwrap();
    for (number, feature) in features.iter().enumerate() {
        writer.put(&name(number), &item(number), Some(feature)).unwrap();
    }
    let copy = Path::new("copy.jpg");
    writer.put(copy, &item(20), None).unwrap();
    // What is gone is no duplicate.
    writer.put(Path::new("gone"), &item(count), Some(&features[9])).unwrap();
    writer.remove(Path::new("gone")).unwrap();
    writer.commit().unwrap();

    let index = Index::open(&path).unwrap();
    let find = |threads: usize, threshold: Option<f32>| {
        let found = index.duplicates(&processor(threads), &DuplicateOptions { threshold }).unwrap();
        found.into_iter().map(|group| (group.rows, group.cosine)).collect::<Vec<_>>()
    };
    let cosine = |one: usize, other: usize| {
        let sum = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let (a, b) = (&features[one], &features[other]);
        sum(a, b) / (sum(a, a) * sum(b, b)).sqrt()
    };
    // The truth, pair by pair.
    for threshold in [0.955, 0.5] {
        let mut pairs = Vec::new();
        for one in 0..count {
            pairs.extend(
                (one + 1..count).filter(|other| cosine(one, *other) >= threshold).map(|other| (one, other)),
            );
        }
        if threshold == 0.955 {
            assert_eq!(pairs, planted);
        } else {
            assert!(pairs.len() > planted.len(), "the lower threshold finds more: {}", pairs.len());
        }
        let found = find(2, Some(threshold));
        let together = |one: usize, other: usize| {
            found.iter().any(|(rows, _)| rows.contains(&(one as u64)) && rows.contains(&(other as u64)))
        };
        assert!(pairs.iter().all(|(one, other)| together(*one, *other)));
        let joined: usize = found.iter().map(|(rows, _)| rows.len() - 1).sum();
        assert!(joined <= pairs.len(), "{joined} of {}", pairs.len());
        assert_eq!(found, find(1, Some(threshold)));
    }
    let found = find(1, Some(0.955));
    let rows: Vec<&[u64]> = found.iter().map(|(rows, _)| rows.as_slice()).collect();
    assert_eq!(rows, [&[3, 1400][..], &[5, 6], &[20], &[63, 64], &[700, 701, 1499]]);
    assert!((found[0].1 - cosine(3, 1400)).abs() < 1e-3);
    assert_eq!(found[2].1, 1.0);
    assert_eq!(find(1, None), [(vec![20], 1.0)]);
    assert_eq!(index.items_of_row(20).unwrap().len(), 2);
    let bad = |threshold| index.duplicates(&processor(1), &DuplicateOptions { threshold: Some(threshold) });
    for threshold in [0.0, 1.1, -1.0, f32::NAN] {
        assert_eq!(code(bad(threshold)), "bad-option");
    }
}
