//! The inputs of one pass through the program, and where each sample's rows are.

use clipway_model::graph::Pool;

use super::shape::{Cut, Rows, Select};

/// The input of a pass.
#[derive(Clone, Copy)]
pub(super) enum Input<'a> {
    /// `[batch, 3, height, width]`.
    Pixels { values: &'a [f32], size: [usize; 2] },
    /// `[batch, length]`.
    Tokens { ids: &'a [i64], length: usize },
}

/// The samples of one pass.
pub(super) struct Batch<'a> {
    pub input: Input<'a>,
    pub samples: usize,
    /// First row of each text and the end of the last; empty for images.
    starts: Vec<usize>,
}

impl<'a> Batch<'a> {
    /// Images.
    pub fn images(values: &'a [f32], size: [usize; 2], samples: usize) -> Batch<'a> {
        Batch { input: Input::Pixels { values, size }, samples, starts: Vec::new() }
    }

    /// Texts, of which the first `n` tokens are computed.
    pub fn texts(ids: &'a [i64], length: usize, computed: &[usize]) -> Batch<'a> {
        let mut starts = vec![0];
        let mut end = 0;
        for tokens in computed {
            end += tokens;
            starts.push(end);
        }
        Batch { input: Input::Tokens { ids, length }, samples: computed.len(), starts }
    }

    /// First row of a sample; for the number of samples, the end of the last.
    pub fn start(&self, rows: Rows, sample: usize) -> usize {
        match rows {
            Rows::Fixed(rows) => sample * rows,
            Rows::Text(extra) => self.starts.get(sample).copied().unwrap_or(0) + sample * extra,
        }
    }

    /// Rows of a sample.
    pub fn range(&self, rows: Rows, sample: usize) -> std::ops::Range<usize> {
        self.start(rows, sample)..self.start(rows, sample + 1)
    }

    /// Rows of all samples.
    pub fn rows(&self, rows: Rows) -> usize {
        self.start(rows, self.samples)
    }

    /// All token ids of a text, including those not computed.
    pub fn ids(&self, sample: usize) -> &'a [i64] {
        match self.input {
            Input::Tokens { ids, length } => &ids[sample * length..(sample + 1) * length],
            Input::Pixels { .. } => &[],
        }
    }

    /// The row that a pool selects from a sample.
    pub fn selected(&self, select: Select, rows: Rows, sample: usize) -> usize {
        let range = self.range(rows, sample);
        match select {
            Select::First => range.start,
            Select::Last => range.end - 1,
            Select::Ids(pool) => range.start + position(pool, self.ids(sample)),
        }
    }
}

/// Number of tokens in a text up to a cut.
pub(super) fn computed(cut: Option<Cut>, ids: &[i64]) -> usize {
    match cut {
        None => ids.len(),
        Some(Cut::Pooled(pool)) => position(pool, ids) + 1,
        Some(Cut::Padding(padding)) => ids.iter().rposition(|id| *id != padding).map_or(1, |last| last + 1),
    }
}

/// The token that a pool selects from a text.
pub(super) fn position(pool: Pool, ids: &[i64]) -> usize {
    match pool {
        Pool::Argmax => {
            let mut best = 0;
            for (index, id) in ids.iter().enumerate() {
                if *id > ids[best] {
                    best = index;
                }
            }
            best
        }
        Pool::Eos(end) => ids.iter().position(|id| *id == end).unwrap_or(0),
        Pool::EosOrLast { end, padding } => ids.iter().position(|id| *id == end).unwrap_or_else(|| {
            let count = ids.iter().filter(|id| **id != padding).count();
            count.saturating_sub(1)
        }),
        Pool::First | Pool::Mean { .. } | Pool::Max { .. } | Pool::MeanMax { .. } => 0,
        Pool::MeanAndMax { .. } | Pool::MeanUnpadded(_) | Pool::MaxUnpadded(_) => 0,
        Pool::Last => ids.len().saturating_sub(1),
    }
}
