//! Few queries: products along each row.

use super::super::dot::{Dot, DotKernel};
use super::super::row_dot::RowDot;
use super::ScanQueries;
use crate::buffer::{LINE, prefetch};

/// Most queries that are multiplied along each row; the lanes of more queries are worth filling.
pub(super) const ALONG_ROWS: usize = 4;

/// Rows multiplied at once.
const ROWS_ALONG: usize = 4;

/// How far ahead along the rows bytes are fetched into the cache: across pages, which the processor does not do by itself.
const BYTES_AHEAD: usize = 8 << 10;

/// Few queries: products along each row.
pub(super) struct Along<'a> {
    pub(super) rows: &'a [u8],
    pub(super) scales: &'a [f32],
    pub(super) queries: &'a ScanQueries,
    pub(super) scores: &'a mut [f32],
}

impl<T> DotKernel<T> for Along<'_> {
    #[inline(always)]
    fn run<D: Dot<Value = T>>(self, dot: D) {
        match self.queries.count {
            1 => self.queries::<D, 1>(dot),
            2 => self.queries::<D, 2>(dot),
            3 => self.queries::<D, 3>(dot),
            ALONG_ROWS => self.queries::<D, ALONG_ROWS>(dot),
            other => panic!("products along rows are of 1 to {ALONG_ROWS} queries, not {other}"),
        }
    }
}

impl Along<'_> {
    #[inline(always)]
    fn queries<D: RowDot, const Q: usize>(self, dot: D) {
        let Along { rows, scales, queries, scores } = self;
        let stride = queries.stride;
        let whole = scales.len() - scales.len() % ROWS_ALONG;
        let (rows, last_rows) = rows.split_at(whole * stride);
        let (scales, last_scales) = scales.split_at(whole);
        let (scores, last_scores) = scores.split_at_mut(whole * Q);
        tiles::<D, ROWS_ALONG, Q>(dot, rows, scales, queries, scores);
        tiles::<D, 1, Q>(dot, last_rows, last_scales, queries, last_scores);
    }
}

/// Scores of rows, `R` at a time.
#[inline(always)]
#[allow(unsafe_code)]
// Indexed loops, for the same reason as in the f32 tile.
#[allow(clippy::needless_range_loop)]
fn tiles<D: RowDot, const R: usize, const Q: usize>(
    dot: D,
    rows: &[u8],
    scales: &[f32],
    queries: &ScanQueries,
    scores: &mut [f32],
) {
    let stride = queries.stride;
    assert!(stride.is_multiple_of(D::RUN), "whole runs");
    assert!(queries.plain.len() >= Q * stride, "Q queries");
    let plain = queries.plain.as_ptr();
    let parts = rows.chunks_exact(R * stride).zip(scales.chunks_exact(R)).zip(scores.chunks_exact_mut(R * Q));
    for ((rows, scales), scores) in parts {
        let rows = rows.as_ptr();
        let mut sums = [[dot.no_sums(); Q]; R];
        for start in (0..stride).step_by(D::RUN) {
            // SAFETY: `rows` has R rows of `stride` bytes, `plain` Q queries of as many, and `start + RUN` is at most
            // `stride`.
            unsafe {
                let mut queries = [dot.query_run(plain.add(start)); Q];
                for query in 1..Q {
                    queries[query] = dot.query_run(plain.add(query * stride + start));
                }
                for row in 0..R {
                    let run = rows.add(row * stride + start);
                    if start.is_multiple_of(LINE) {
                        prefetch(run.wrapping_add(BYTES_AHEAD));
                    }
                    let run = dot.row_run(run);
                    for query in 0..Q {
                        sums[row][query] = dot.add_run(sums[row][query], run, queries[query]);
                    }
                }
            }
        }
        for row in 0..R {
            for query in 0..Q {
                let sum = dot.total(sums[row][query]).wrapping_sub(queries.corrections[query]);
                scores[row * Q + query] = sum as f32 * scales[row];
            }
        }
    }
}
