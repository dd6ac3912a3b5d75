//! Search: the nearest rows of each query.

use clipway_run::engine::Processor;
use serde::Serialize;

use crate::error::IndexError;
use crate::filter::Filter;
use crate::index::Index;
use crate::rows::{Rows, unit};
use crate::scan::{BATCH, Found, Queries, Scan, on_all};

/// Most results of a query.
pub const MOST_RESULTS: usize = 100_000;

/// Rows that the scan finds for each one of the results, whose order f16 values then decide.
const CANDIDATES_PER_RESULT: usize = 5;

/// Least number of such rows.
const LEAST_CANDIDATES: usize = 50;

/// What to find.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchOptions {
    /// Most results of a query, at most [`MOST_RESULTS`].
    pub limit: usize,
    /// Which items may be found. As many are found as there are, up to the limit: the filter comes before the ranking.
    pub filter: Filter,
    /// Least calibrated score of a result.
    pub min_score: Option<f32>,
    /// Whether to stop before the largest gap between the calibrated scores of neighbors in the ranking.
    pub until_gap: bool,
}

impl Default for SearchOptions {
    fn default() -> SearchOptions {
        SearchOptions { limit: 10, filter: Filter::default(), min_score: None, until_gap: false }
    }
}

/// A row that was found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Hit {
    /// The row; [`Index::items_of_row`] has its files.
    pub row: u64,
    /// Cosine between the query and the row's f16 values.
    pub cosine: f32,
    /// The calibrated score: how many standard deviations the cosine lies above the mean of the whole index.
    pub score: f32,
}

/// The results of a query, best first.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    /// The results; of those with the same cosine, the lower row comes first.
    pub hits: Vec<Hit>,
    /// Mean of the query's cosines with all rows of the index, whatever the filter.
    pub mean: f64,
    /// Their standard deviation.
    pub deviation: f64,
}

impl Index {
    /// Finds the nearest rows of each query, `[queries, width]`, of any length but zero.
    ///
    /// # Errors
    /// Queries of another width or without a direction, a limit over [`MOST_RESULTS`], a damaged index, and files that
    /// cannot be read.
    pub fn search(
        &self,
        processor: &Processor,
        queries: &[f32],
        options: &SearchOptions,
    ) -> Result<Vec<Ranking>, IndexError> {
        let width = self.width();
        if queries.is_empty() || !queries.len().is_multiple_of(width) {
            return Err(IndexError::Width { expected: width, found: queries.len() });
        }
        if options.limit > MOST_RESULTS {
            let (found, limit) = (options.limit as u64, MOST_RESULTS as u64);
            return Err(IndexError::TooLarge { what: "the number of results", found, limit });
        }
        let mut units = Vec::with_capacity(queries.len());
        for query in queries.chunks_exact(width) {
            let unit = unit(query).ok_or_else(|| IndexError::NotFinite { what: "the query".to_owned() })?;
            units.extend(unit);
        }
        let allowed = self.allowed(&options.filter)?;
        let scan = Scan {
            rows: &self.rows,
            held: self.held.as_ref(),
            allowed: allowed.as_ref(),
            dead: self.dead.as_ref(),
            most: (options.limit * CANDIDATES_PER_RESULT).max(LEAST_CANDIDATES),
        };
        let mut rankings = Vec::with_capacity(queries.len() / width);
        for batch in units.chunks(BATCH * width) {
            let quantized = Queries::of(batch, width)
                .ok_or_else(|| IndexError::NotFinite { what: "the query".to_owned() })?;
            let found = scan.run(processor, &quantized)?;
            let ranked = |_: &mut (), query: usize| {
                ranked(&self.rows, &batch[query * width..][..width], &found[query], options)
            };
            rankings.extend(on_all(processor, found.len(), || (), ranked)?);
        }
        Ok(rankings)
    }
}

/// Ranks what a scan found by the f16 values.
fn ranked(rows: &Rows, query: &[f32], found: &Found, options: &SearchOptions) -> Result<Ranking, IndexError> {
    let Found { mean, deviation, .. } = *found;
    let mut hits = Vec::with_capacity(found.best.len());
    for scored in &found.best {
        let cosine = cosine(query, &rows.values(scored.row)?);
        hits.push(Hit { row: scored.row, cosine, score: calibrated(cosine, mean, deviation) });
    }
    hits.sort_by(|a, b| b.cosine.total_cmp(&a.cosine).then(a.row.cmp(&b.row)));
    hits.truncate(options.limit);
    if let Some(least) = options.min_score {
        hits.retain(|hit| hit.score >= least);
    }
    if options.until_gap {
        hits.truncate(until_gap(&hits));
    }
    Ok(Ranking { hits, mean, deviation })
}

/// Standard deviations above the mean; 0 if all rows have the same score.
fn calibrated(cosine: f32, mean: f64, deviation: f64) -> f32 {
    if deviation > 0.0 { ((f64::from(cosine) - mean) / deviation) as f32 } else { 0.0 }
}

/// The results before the largest gap: the first one of equal gaps.
fn until_gap(hits: &[Hit]) -> usize {
    let mut kept = hits.len();
    let mut largest = 0.0;
    for (index, pair) in hits.windows(2).enumerate() {
        let gap = pair[0].score - pair[1].score;
        if gap > largest {
            (kept, largest) = (index + 1, gap);
        }
    }
    kept
}

/// Partial sums of a product, so that the processor can add several at once.
const LANES: usize = 16;

/// The cosine of a query of length 1 and a row, whose rounding to f16 has changed its length a little.
pub(crate) fn cosine(unit: &[f32], values: &[f32]) -> f32 {
    let length = product(values, values).sqrt();
    // Only damaged rows have no length.
    if length > 0.0 { (product(unit, values) / length).clamp(-1.0, 1.0) } else { 0.0 }
}

/// The product of two features in f32, in an order that does not depend on the processor.
fn product(a: &[f32], b: &[f32]) -> f32 {
    let (a_runs, a_rest) = a.as_chunks::<LANES>();
    let (b_runs, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a_runs.iter().zip(b_runs) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stop_at_the_largest_gap() {
        let hits = |scores: &[f32]| -> Vec<Hit> {
            scores.iter().map(|score| Hit { row: 0, cosine: 0.0, score: *score }).collect()
        };
        assert_eq!(until_gap(&hits(&[9.0, 8.5, 4.0, 3.0])), 2);
        assert_eq!(until_gap(&hits(&[9.0, 7.0, 5.0])), 1);
        assert_eq!(until_gap(&hits(&[3.0, 3.0])), 2);
        assert_eq!(until_gap(&hits(&[3.0])), 1);
        assert_eq!(until_gap(&[]), 0);
    }

    #[test]
    fn a_product_has_every_value() {
        let a: Vec<f32> = (0..37).map(|index| index as f32).collect();
        assert_eq!(product(&a, &[1.0; 37]), 666.0);
    }

    #[test]
    fn a_cosine_does_not_depend_on_a_rows_length() {
        assert_eq!(cosine(&[1.0, 0.0], &[3.0, 4.0]), 0.6);
        assert_eq!(cosine(&[1.0, 0.0], &[1.0001, 0.0]), 1.0);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 0.0]), 0.0);
    }

    #[test]
    fn a_score_counts_deviations_from_the_mean() {
        assert_eq!(calibrated(0.5, 0.25, 0.125), 2.0);
        assert_eq!(calibrated(0.5, 0.5, 0.0), 0.0);
    }
}
