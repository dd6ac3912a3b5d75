//! Duplicates: files with the same bytes, and rows that are nearly the same.
//!
//! Every row is compared with every later one. The scan of int8 codes may leave out only pairs that cannot reach the
//! threshold: how far a row's codes are from its values is known, and so is how much that can change a cosine. What it
//! leaves is decided by the f16 values.

use clipway_kernels::RowScores;
use clipway_run::engine::Processor;
use serde::Serialize;

use crate::error::IndexError;
use crate::index::Index;
use crate::rows::{Part, unit};
use crate::scan::{BATCH, Codes, block_rows, kernels, on_all};
use crate::search::cosine;

/// Most bytes of codes that are held in memory during the comparison.
const HELD_BYTES: u64 = 4 << 30;

/// What the rounding of values to f16 and of products to f32 can change in a cosine.
const ROUNDING: f32 = 2e-3;

/// What counts as a duplicate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DuplicateOptions {
    /// Least cosine of two images that are nearly the same, above 0; `None` for files with the same bytes alone.
    pub threshold: Option<f32>,
}

impl Default for DuplicateOptions {
    fn default() -> DuplicateOptions {
        DuplicateOptions { threshold: Some(0.95) }
    }
}

/// Rows that belong together, each by a chain of pairs that reach the threshold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DuplicateGroup {
    /// The rows, ascending; one row if all files have the same bytes. [`Index::items_of_row`] has the files.
    pub rows: Vec<u64>,
    /// The least cosine of the pairs that join the rows; 1 for the same bytes.
    pub cosine: f32,
}

/// A pair that reaches the threshold.
#[derive(Clone, Copy)]
struct Link {
    rows: [u64; 2],
    cosine: f32,
}

impl Index {
    /// Finds files with the same bytes and, by a threshold, rows that are nearly the same. Groups come in the order of
    /// their first rows.
    ///
    /// The work grows with the square of the rows.
    ///
    /// # Errors
    /// A threshold outside of 0 to 1, a damaged index, and files that cannot be read.
    pub fn duplicates(
        &self,
        processor: &Processor,
        options: &DuplicateOptions,
    ) -> Result<Vec<DuplicateGroup>, IndexError> {
        let links = match options.threshold {
            None => Vec::new(),
            Some(threshold) if threshold > 0.0 && threshold <= 1.0 => self.links(processor, threshold)?,
            Some(threshold) => {
                let reason = format!("the threshold is a cosine above 0 and up to 1, not {threshold}");
                return Err(IndexError::BadQuery { reason });
            }
        };
        let mut sets = Sets::new(self.counts.rows);
        for Link { rows: [one, other], cosine } in links {
            sets.join(one, other, cosine);
        }
        let mut copies = vec![0_u32; self.counts.rows as usize];
        self.visit_items(|_, item| {
            if let Some(count) = item.row.and_then(|row| copies.get_mut(row as usize)) {
                *count = count.saturating_add(1);
            }
            Ok(())
        })?;
        let groups = sets.groups().into_iter();
        Ok(groups.filter(|group| group.rows.len() > 1 || copies[group.rows[0] as usize] > 1).collect())
    }

    /// The pairs of living rows whose cosine reaches a threshold.
    fn links(&self, processor: &Processor, threshold: f32) -> Result<Vec<Link>, IndexError> {
        let bytes = self.rows.count * Part::Codes.row_bytes(self.rows.width) as u64;
        let read;
        let held = match &self.held {
            None if bytes <= HELD_BYTES => {
                read = Codes::read(&self.rows, 0, self.rows.count)?;
                Some(&read)
            }
            held => held.as_ref(),
        };
        let losses = self.losses(processor, held)?;
        // At most 2^32 rows.
        let batches = self.rows.count.div_ceil(BATCH as u64) as usize;
        let links = on_all(
            processor,
            batches,
            || (),
            |(), batch| self.links_from(processor, (batch * BATCH) as u64, threshold, held, &losses),
        );
        let mut links = links?.concat();
        links.sort_by_key(|link| link.rows);
        Ok(links)
    }

    /// How far each row's codes are from its f16 values: the length of the difference.
    fn losses(&self, processor: &Processor, held: Option<&Codes>) -> Result<Vec<f32>, IndexError> {
        let rows = block_rows(self.rows.width);
        let blocks = self.rows.count.div_ceil(rows as u64) as usize;
        let losses = on_all(processor, blocks, Codes::default, |codes, block| {
            let first = (block * rows) as u64;
            let count = (self.rows.count - first).min(rows as u64);
            let (codes, scales) = codes.block(held, &self.rows, first, count)?;
            let rows = (first..).zip(by_row(codes, scales));
            rows.map(|(row, codes)| Ok(loss(codes, &self.rows.values(row)?))).collect::<Result<Vec<_>, _>>()
        });
        Ok(losses?.concat())
    }

    /// The pairs of a batch of rows with each other and with all later rows.
    fn links_from(
        &self,
        processor: &Processor,
        first: u64,
        threshold: f32,
        held: Option<&Codes>,
        losses: &[f32],
    ) -> Result<Vec<Link>, IndexError> {
        let width = self.rows.width;
        let kernels =
            kernels(processor).map_err(|error| IndexError::BadQuery { reason: error.to_string() })?;
        let count = (self.rows.count - first).min(BATCH as u64);
        let (mut codes, mut values) = (Vec::with_capacity(BATCH * width), Vec::with_capacity(BATCH));
        let mut read = Codes::default();
        let (bytes, scales) = read.block(held, &self.rows, first, count)?;
        for (row, (bytes, _)) in (first..).zip(by_row(bytes, scales)) {
            // A code of -128 is never written, and stays in range.
            codes.extend(bytes[..width].iter().map(|byte| byte.cast_signed()));
            values.push(unit(&self.rows.values(row)?).unwrap_or_default());
        }
        let queries = kernels.scan_queries(&codes, width);
        let (mut links, mut block, mut scores) = (Vec::new(), Codes::default(), RowScores::default());
        let step = block_rows(width) as u64;
        let mut start = first;
        while start < self.rows.count {
            let rows = (self.rows.count - start).min(step);
            let (bytes, row_scales) = block.block(held, &self.rows, start, rows)?;
            let range = start as usize..(start + rows) as usize;
            let most_loss = losses[range].iter().copied().fold(0.0, f32::max);
            let thresholds: Vec<f32> = (0..count as usize)
                .map(|query| {
                    let loss = losses[first as usize + query];
                    let margin = loss + most_loss + 3.0 * loss * most_loss + ROUNDING;
                    // A scale of zero belongs to no row of length 1.
                    (threshold - margin) / scales[query].max(f32::MIN_POSITIVE)
                })
                .collect();
            kernels.scan(bytes, row_scales, &queries, &thresholds, &mut scores);
            for place in &scores.above {
                let query = *place as usize % count as usize;
                let rows = [first + query as u64, start + u64::from(*place) / count];
                let is_dead = |row: &u64| self.dead.as_ref().is_some_and(|dead| dead.contains(*row));
                if rows[0] >= rows[1] || rows.iter().any(is_dead) {
                    continue;
                }
                let cosine = cosine(&values[query], &self.rows.values(rows[1])?);
                if cosine >= threshold {
                    links.push(Link { rows, cosine });
                }
            }
            start += rows;
        }
        Ok(links)
    }
}

/// Each row's codes and scale.
fn by_row<'a>(codes: &'a [u8], scales: &'a [f32]) -> impl Iterator<Item = (&'a [u8], f32)> {
    codes.chunks_exact(codes.len() / scales.len()).zip(scales.iter().copied())
}

/// The length of the difference between a row's codes and its values.
fn loss((codes, scale): (&[u8], f32), values: &[f32]) -> f32 {
    let differences =
        codes.iter().zip(values).map(|(code, value)| f32::from(code.cast_signed()) * scale - value);
    differences.map(|difference| difference * difference).sum::<f32>().sqrt()
}

/// Rows joined to sets.
struct Sets {
    /// A lower row of the same set, or the row itself.
    lower: Vec<u32>,
    /// Of a set's lowest row: the least cosine that joined it.
    cosines: Vec<f32>,
}

impl Sets {
    fn new(rows: u64) -> Sets {
        // At most 2^32 rows.
        Sets { lower: (0..rows).map(|row| row as u32).collect(), cosines: vec![1.0; rows as usize] }
    }

    fn lowest(&mut self, row: u64) -> usize {
        let mut at = row as usize;
        while self.lower[at] as usize != at {
            self.lower[at] = self.lower[self.lower[at] as usize];
            at = self.lower[at] as usize;
        }
        at
    }

    fn join(&mut self, one: u64, other: u64, cosine: f32) {
        let (one, other) = (self.lowest(one), self.lowest(other));
        let (low, high) = (one.min(other), one.max(other));
        if low != high {
            self.lower[high] = low as u32;
            self.cosines[low] = self.cosines[low].min(self.cosines[high]).min(cosine);
        }
    }

    /// Every set, in the order of the lowest rows.
    fn groups(mut self) -> Vec<DuplicateGroup> {
        let mut groups: Vec<DuplicateGroup> = Vec::new();
        let mut at = vec![0_usize; self.lower.len()];
        for row in 0..self.lower.len() {
            let lowest = self.lowest(row as u64);
            if lowest == row {
                at[row] = groups.len();
                groups.push(DuplicateGroup { rows: Vec::new(), cosine: self.cosines[row] });
            }
            groups[at[lowest]].rows.push(row as u64);
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_become_groups() {
        let mut sets = Sets::new(7);
        for (one, other, cosine) in [(5, 6, 0.99), (1, 3, 0.98), (3, 6, 0.96), (1, 6, 0.95)] {
            sets.join(one, other, cosine);
        }
        let groups: Vec<(Vec<u64>, f32)> =
            sets.groups().into_iter().map(|group| (group.rows, group.cosine)).collect();
        assert_eq!(groups, [(vec![0], 1.0), (vec![1, 3, 5, 6], 0.96), (vec![2], 1.0), (vec![4], 1.0)]);
    }
}
