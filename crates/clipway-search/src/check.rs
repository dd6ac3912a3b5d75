//! Whether an index is whole, and how well its search finds what it should.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use clipway_formats::shown_path;
use clipway_run::engine::Processor;
use crc32fast::Hasher;
use serde::Serialize;

use crate::best::{Best, Scored};
use crate::error::IndexError;
use crate::in_place::WriterLock;
use crate::index::Index;
use crate::item::{Item, path_bytes};
use crate::rows::{Part, unit};
use crate::scan::block_rows;
use crate::search::SearchOptions;
use crate::store::{self, Span};

/// Rows that recall is measured with.
const SAMPLES: u64 = 32;

/// Results that recall is measured by.
const RESULTS: usize = 10;

/// Most problems of one kind that are listed.
const MOST_PROBLEMS: usize = 20;

/// How far a row's length may be from 1: more than rounding to f16 changes.
const LENGTH_TOLERANCE: f64 = 1e-2;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Rows in the files.
    pub rows: u64,
    /// Files, with those that could not be read.
    pub items: u64,
    /// What is wrong; empty for an index that is whole.
    pub problems: Vec<String>,
    /// Share of the nearest rows by exact products that the search finds, over rows of the index as queries; `None` for
    /// fewer than two rows, or if anything is wrong.
    pub recall_at_10: Option<f64>,
    /// Rows that it was measured with.
    pub samples: usize,
}

/// Problems, of which each kind is listed up to a limit.
#[derive(Default)]
struct Problems {
    found: Vec<String>,
    counts: HashMap<&'static str, usize>,
}

impl Problems {
    fn add(&mut self, kind: &'static str, problem: impl FnOnce() -> String) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= MOST_PROBLEMS {
            self.found.push(problem());
        }
    }

    fn finish(mut self) -> Vec<String> {
        let mut counts: Vec<_> =
            self.counts.into_iter().filter(|(_, count)| *count > MOST_PROBLEMS).collect();
        counts.sort_unstable();
        let more = counts.into_iter().map(|(kind, count)| format!("{kind}: {} more", count - MOST_PROBLEMS));
        self.found.extend(more);
        self.found
    }
}

/// Checks an index: the pages of its database, that items and rows name each other, the checksum of every commit's rows,
/// every value, and what the search finds.
///
/// # Errors
/// A writer at work, an index that cannot be opened, and files that cannot be read.
pub fn check(path: &Path, processor: &Processor) -> Result<Check, IndexError> {
    let lock = WriterLock::take(path)?;
    store::check_pages(&path.join(store::FILE))?;
    let index = Index::open(path)?;
    let mut problems = Problems::default();
    check_items(&index, &mut problems)?;
    check_spans(&index, &mut problems)?;
    check_values(&index, &mut problems)?;
    drop(lock);
    let problems = problems.finish();
    let (recall_at_10, samples) = match problems.is_empty() && index.counts.rows > 1 {
        true => recall(&index, processor)?,
        false => (None, 0),
    };
    Ok(Check { rows: index.counts.rows, items: index.counts.items, problems, recall_at_10, samples })
}

/// Items name rows that exist, and each row and hash names them back.
fn check_items(index: &Index, problems: &mut Problems) -> Result<(), IndexError> {
    let rows = index.counts.rows;
    let mut hashes = HashMap::new();
    for (hash, row) in index.snapshot.hashes()? {
        if row >= rows {
            problems.add("hashes", || format!("a hash belongs to row {row} of {rows}"));
        }
        hashes.insert(hash, row);
    }
    let mut living = BTreeSet::new();
    let mut links = 0;
    index.visit_items(|path, item| {
        let Item { row: Some(row), hash, .. } = item else { return Ok(()) };
        let named = shown_path(&path);
        if row >= rows {
            problems.add("items", || format!("`{named}` has row {row} of {rows}"));
        }
        if hashes.get(&hash) != Some(&row) {
            problems
                .add("hashes of items", || format!("`{named}`: its hash does not belong to its row, {row}"));
        }
        let is_linked = path_bytes(&path).map(|path| index.snapshot.is_linked(row, path)).transpose()?;
        if is_linked != Some(true) {
            problems.add("rows of items", || format!("row {row} does not name `{named}`, which has it"));
        }
        living.insert(row);
        links += 1;
        Ok(())
    })?;
    let named = index.snapshot.links()?;
    if named != links {
        problems.add("links", || format!("{named} links from rows to files, but {links} files with rows"));
    }
    let dead: BTreeSet<u64> = index.snapshot.dead()?.into_iter().collect();
    for row in 0..rows {
        if living.contains(&row) == dead.contains(&row) {
            let state = if dead.contains(&row) { "has a file, but counts as dead" } else { "has no file" };
            problems.add("dead rows", || format!("row {row} {state}"));
        }
    }
    Ok(())
}

/// The commits follow each other, and their rows have the checksums that were committed.
fn check_spans(index: &Index, problems: &mut Problems) -> Result<(), IndexError> {
    let mut end = 0;
    for span in index.snapshot.spans()? {
        if span.first != end || span.end <= span.first || span.end > index.counts.rows {
            let Span { first, end: last, .. } = span;
            problems.add("commits", || format!("a commit has rows {first} to {last}, after {end} rows"));
            return Ok(());
        }
        for (part, expected) in Part::ALL.into_iter().zip(span.sums) {
            let mut sum = Hasher::new();
            let row_bytes = part.row_bytes(index.rows.width);
            let step = block_rows(index.rows.width) as u64;
            let mut buffer = vec![0; step as usize * row_bytes];
            let mut first = span.first;
            while first < span.end {
                let rows = (span.end - first).min(step);
                let buffer = &mut buffer[..rows as usize * row_bytes];
                index.rows.read(part, first, buffer)?;
                sum.update(buffer);
                first += rows;
            }
            if sum.finalize() != expected {
                let file = part.file();
                problems.add("checksums", || {
                    format!("`{file}`: rows {} to {} do not have their checksum", span.first, span.end)
                });
            }
        }
        end = span.end;
    }
    if end != index.counts.rows {
        problems.add("commits", || format!("the commits end at row {end} of {}", index.counts.rows));
    }
    Ok(())
}

/// Every row has length 1, and its codes match its values.
fn check_values(index: &Index, problems: &mut Problems) -> Result<(), IndexError> {
    let width = index.rows.width;
    let mut codes = vec![0; Part::Codes.row_bytes(width)];
    for row in 0..index.counts.rows {
        let values = index.rows.values(row)?;
        let length = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        if length.is_nan() || (length - 1.0).abs() > LENGTH_TOLERANCE {
            problems.add("lengths", || format!("row {row} has length {length}"));
        }
        let mut scale = [0.0];
        index.rows.read_scales(row, &mut scale)?;
        index.rows.read(Part::Codes, row, &mut codes)?;
        // Half a step of rounding to int8, and one of f16.
        let most = scale[0] * 0.5 + 1e-3;
        let differs = |(code, value): (&u8, &f32)| {
            let difference = (f32::from(code.cast_signed()) * scale[0] - value).abs();
            difference.is_nan() || difference > most
        };
        if codes.iter().zip(&values).any(differs) {
            problems.add("codes", || format!("row {row}: its codes do not match its values"));
        }
    }
    Ok(())
}

/// Share of the nearest rows that the search finds, with some rows as queries.
fn recall(index: &Index, processor: &Processor) -> Result<(Option<f64>, usize), IndexError> {
    let (width, rows) = (index.rows.width, index.counts.rows);
    let living = (0..rows).filter(|row| index.dead.as_ref().is_none_or(|dead| !dead.contains(*row)));
    let living: Vec<u64> = living.collect();
    let step = (living.len() as u64).div_ceil(SAMPLES).max(1) as usize;
    let samples: Vec<u64> = living.iter().copied().step_by(step).collect();
    if living.len() < 2 {
        return Ok((None, 0));
    }
    let mut queries = Vec::with_capacity(samples.len() * width);
    for row in &samples {
        // Scaled as the search does it, so that the cosines can be compared.
        queries.extend(unit(&index.rows.values(*row)?).unwrap_or_default());
    }
    let mut best: Vec<Best> = samples.iter().map(|_| Best::new(RESULTS)).collect();
    for row in &living {
        let values = index.rows.values(*row)?;
        let length = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        for (best, query) in best.iter_mut().zip(queries.chunks_exact(width)) {
            let exact: f64 = query.iter().zip(&values).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            best.push(Scored { score: (exact / length) as f32, row: *row });
        }
    }
    let options = SearchOptions { limit: RESULTS, ..SearchOptions::default() };
    let found = index.search(processor, &queries, &options)?;
    let (mut hits, mut of) = (0, 0);
    for (ranking, best) in found.iter().zip(best) {
        let best = best.sorted();
        of += best.len();
        // A row as near as the last one counts too, whichever of the two was found.
        let least = best.last().map_or(f32::INFINITY, |last| last.score) - 1e-6;
        hits += ranking.hits.iter().take(best.len()).filter(|hit| hit.cosine >= least).count();
    }
    Ok((Some(hits as f64 / of as f64), samples.len()))
}
