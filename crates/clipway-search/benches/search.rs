//! Milliseconds a query in an index of synthetic features, and the recall of what it finds.
//!
//!     cargo xtask bench search [--folder DIR] [--rows 1000000] [--threads 1,2] [--queries 1,8,64] [--runs 15] [--on-disk]
//!
//! Features lie near a space of few dimensions, as those of real models do, with noise. The folder keeps the index and
//! `queries.f32`, so that `benches/peers/search.py DIR` can measure usearch and faiss on the same rows and queries.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clipway_run::engine::Processor;
use clipway_run::space::{SPACE_VERSION, Space, SpacePrecision};
use clipway_search::{Index, Item, NewIndex, SearchOptions, Writer};
use rayon::prelude::*;

const WIDTH: usize = 512;
const RANK: usize = 32;
const QUERIES: usize = 64;
/// Queries that recall is measured with.
const JUDGED: usize = 16;
/// Features computed at once.
const AT_ONCE: u64 = 20_000;
/// Rows of a commit.
const COMMITTED: u64 = 100_000;
/// Rows whose products are kept before all but the best are dropped.
const KEPT: usize = 4096;

/// Numbers in a fixed sequence.
struct Draw(u64);

impl Draw {
    /// About normal, with a deviation of 1.
    fn next(&mut self) -> f32 {
        let mut sum = -6.0;
        for _ in 0..2 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            sum += (0..6).map(|part| ((self.0 >> (10 * part)) & 0x3ff) as f32 / 1024.0).sum::<f32>();
        }
        sum
    }
}

/// The feature with a number: the same in every run.
fn feature(number: u64, directions: &[f32]) -> Vec<f32> {
    let mut draw = Draw(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut feature: Vec<f32> = (0..WIDTH).map(|_| 0.5 * draw.next()).collect();
    for direction in directions.chunks_exact(WIDTH) {
        let weight = draw.next() * 0.3;
        for (value, part) in feature.iter_mut().zip(direction) {
            *value += weight * part;
        }
    }
    feature
}

fn make(path: &Path, rows: u64, directions: &[f32]) -> Result<(), Box<dyn Error>> {
    let space = Space {
        version: SPACE_VERSION,
        fingerprint: String::new(),
        width: WIDTH,
        model: None,
        source: "synthetic".to_owned(),
        precision: SpacePrecision::F32,
        image: None,
        text: None,
    };
    Index::create(path, NewIndex { space, model: None })?;
    let mut writer = Writer::open(path)?;
    for first in (0..rows).step_by(AT_ONCE as usize) {
        let numbers = (first..rows.min(first + AT_ONCE)).into_par_iter();
        let features: Vec<Vec<f32>> = numbers.map(|row| feature(row, directions)).collect();
        for (row, feature) in (first..).zip(features) {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&row.to_le_bytes());
            let item = Item { hash, ..Item::default() };
            writer.put(format!("{row:08}.jpg").as_ref(), &item, Some(&feature))?;
            if row % COMMITTED == COMMITTED - 1 {
                writer.commit()?;
            }
        }
    }
    Ok(writer.commit()?)
}

/// Least and median milliseconds of a call.
fn milliseconds(runs: usize, mut call: impl FnMut()) -> [f64; 2] {
    call();
    let mut times: Vec<f64> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            call();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    [times[0], times[runs / 2]]
}

/// Share of the ten rows with the greatest cosines in f64 that a search finds.
fn recall(index: &Index, queries: &[f32], rows: u64, directions: &[f32]) -> Result<f64, Box<dyn Error>> {
    let queries = &queries[..JUDGED * WIDTH];
    let judged: Vec<f64> = queries.iter().copied().map(f64::from).collect();
    let parts = (0..rows.div_ceil(AT_ONCE)).into_par_iter().map(|part| {
        let mut best = vec![Vec::new(); JUDGED];
        for row in part * AT_ONCE..rows.min((part + 1) * AT_ONCE) {
            let feature: Vec<f64> = feature(row, directions).into_iter().map(f64::from).collect();
            let length = product(&feature, &feature).sqrt();
            for (best, query) in best.iter_mut().zip(judged.chunks_exact(WIDTH)) {
                best.push((product(query, &feature) / length, row));
                if best.len() > KEPT {
                    keep_ten(best);
                }
            }
        }
        best.iter_mut().for_each(keep_ten);
        best
    });
    let truth = parts.reduce(
        || vec![Vec::new(); JUDGED],
        |mut all, part| {
            for (all, part) in all.iter_mut().zip(part) {
                all.extend(part);
                keep_ten(all);
            }
            all
        },
    );
    let found = index.search(&Processor::detect()?, queries, &SearchOptions::default())?;
    let mut hits = 0;
    for (best, found) in truth.into_iter().zip(found) {
        hits += found.hits.iter().filter(|hit| best.iter().any(|(_, row)| *row == hit.row)).count();
    }
    Ok(hits as f64 / (10 * JUDGED) as f64)
}

/// The product of two features. Eight sums side by side: one would wait for each of its additions.
fn product(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

/// Keeps the rows with the ten greatest products.
fn keep_ten(best: &mut Vec<(f64, u64)>) {
    best.sort_by(|a, b| b.0.total_cmp(&a.0));
    best.truncate(10);
}

/// Memory of this process in MB by the system's name for it, where there is such a system.
fn megabytes(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "the system's own file")]
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? / 1000)
}

fn option(name: &str) -> Option<String> {
    let mut words = std::env::args();
    words.find(|word| word == name)?;
    words.next()
}

fn main() -> Result<(), Box<dyn Error>> {
    let rows: u64 = option("--rows").map_or(Ok(1_000_000), |rows| rows.parse())?;
    let folder =
        option("--folder").map_or_else(|| std::env::temp_dir().join("clipway-bench-search"), PathBuf::from);
    let threads = option("--threads").unwrap_or_else(|| "1,2".to_owned());
    let batches = option("--queries").unwrap_or_else(|| "1,8,64".to_owned());
    let runs: usize = option("--runs").map_or(Ok(15), |runs| runs.parse())?;
    let is_on_disk = std::env::args().any(|word| word == "--on-disk");
    let directions: Vec<f32> = {
        let mut draw = Draw(7);
        (0..RANK * WIDTH).map(|_| draw.next()).collect()
    };
    let path = folder.join(format!("index-{rows}"));
    if !path.exists() {
        make(&path, rows, &directions)?;
    }
    let queries: Vec<f32> =
        (0..QUERIES as u64).flat_map(|number| feature(1 << 40 | number, &directions)).collect();
    let bytes: Vec<u8> = queries.iter().flat_map(|value| value.to_le_bytes()).collect();
    #[expect(clippy::disallowed_methods, reason = "for the peers' script")]
    std::fs::write(folder.join("queries.f32"), bytes)?;
    let mut index = Index::open(&path)?;
    let options = SearchOptions::default();
    let mut cases = Vec::new();
    for held in if is_on_disk { [false].as_slice() } else { &[false, true] } {
        if *held {
            index.hold(u64::MAX)?;
        }
        for threads in threads.split(',') {
            let threads: usize = threads.parse()?;
            let processor = Processor::with_threads(threads)?;
            for batch in batches.split(',') {
                let batch: usize = batch.parse()?;
                let queries = &queries[..batch * WIDTH];
                let [least, median] = milliseconds(runs, || {
                    index.search(&processor, queries, &options).expect("a search");
                });
                let per_query = |time: f64| time / batch as f64;
                cases.push(serde_json::json!({
                    "in_memory": held, "threads": threads, "batch": batch,
                    "least_ms_per_query": per_query(least), "median_ms_per_query": per_query(median),
                    "anonymous_mb": megabytes("RssAnon:"),
                }));
            }
        }
    }
    // Before recall is measured, which needs memory of its own.
    let peak = megabytes("VmHWM:");
    let recall = recall(&index, &queries, rows, &directions)?;
    let report = serde_json::json!({
        "engine": "clipway", "rows": rows, "width": WIDTH, "recall_at_10": recall, "peak_resident_mb": peak,
        "cases": cases,
    });
    println!("{report:#}");
    Ok(())
}
