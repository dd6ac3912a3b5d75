//! The scan of an index: int8 rows times one or more int8 queries, and what a search needs of the scores.

mod across;
mod along;
mod survey;

use self::across::{Across, Panels};
use self::along::{ALONG_ROWS, Along};
use self::survey::Survey;
use super::MOST_INT8_INPUTS;
use super::dot::Dot;
use super::linear::{OnDot, with_dot};
use crate::buffer::{AlignedBuffer, view};
use crate::threads::Kernels;

/// Bytes that a row's length is a multiple of.
const ROW_MULTIPLE: usize = 64;

/// Int8 queries, packed for the kernels that scan with them.
pub struct ScanQueries {
    /// Bytes of a row.
    stride: usize,
    count: usize,
    /// `[queries, stride]`, zeros beyond the width.
    plain: AlignedBuffer<i8>,
    /// What the input offset adds to each sum.
    corrections: Vec<i32>,
    /// More queries than are multiplied along rows.
    panels: Option<Panels>,
}

/// What a search needs of the scores of some rows.
///
/// A score is the exact integer product of row and query times the row's scale, rounded twice; multiply by the query's
/// scale for the product of the features.
#[derive(Clone, Debug, Default)]
pub struct RowScores {
    /// `[rows, queries]`.
    pub scores: Vec<f32>,
    /// Places in `scores` that exceed their query's threshold, ascending.
    pub above: Vec<u32>,
    /// Sum of each query's scores.
    pub sums: Vec<f64>,
    /// Sum of the squares of each query's scores.
    pub squares: Vec<f64>,
}

impl ScanQueries {
    /// Returns the number of queries.
    pub fn count(&self) -> usize {
        self.count
    }
}

impl std::fmt::Debug for ScanQueries {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "ScanQueries([{}, {}])", self.count, self.stride)
    }
}

impl Kernels {
    /// Packs queries, `[queries, width]`, to scan rows of `width` values.
    ///
    /// # Panics
    /// If there are no queries, or their number is no multiple of the width, or the width exceeds [`MOST_INT8_INPUTS`].
    pub fn scan_queries(&self, queries: &[i8], width: usize) -> ScanQueries {
        assert!(width > 0 && !queries.is_empty() && queries.len().is_multiple_of(width), "whole queries");
        let (stride, count) = (width.next_multiple_of(ROW_MULTIPLE), queries.len() / width);
        assert!(stride <= MOST_INT8_INPUTS, "sums of {width} products may not fit 32 bits");
        let mut plain = AlignedBuffer::zeroed(count * stride);
        let mut corrections = Vec::with_capacity(count);
        for (place, query) in plain.chunks_exact_mut(stride).zip(queries.chunks_exact(width)) {
            place[..width].copy_from_slice(query);
            let sum: i32 = query.iter().map(|value| i32::from(*value)).sum();
            corrections.push(sum.wrapping_mul(self.int8_path().offset()));
        }
        let panels = (count > ALONG_ROWS).then(|| Panels::of(self.int8_path(), &plain, stride, &corrections));
        ScanQueries { stride, count, plain, corrections, panels }
    }

    /// Multiplies rows with queries on the caller's thread, and replaces `scores` by what came out.
    ///
    /// A row's bytes are int8, with any bytes where the queries have zeros, up to a multiple of 64; `scales` has a scale
    /// for each row. `thresholds` has a value for each query.
    ///
    /// # Panics
    /// If lengths differ, or the queries were packed for another path.
    pub fn scan(
        &self,
        rows: &[u8],
        scales: &[f32],
        queries: &ScanQueries,
        thresholds: &[f32],
        scores: &mut RowScores,
    ) {
        assert_eq!(rows.len(), scales.len() * queries.stride, "a scale for each row");
        assert_eq!(thresholds.len(), queries.count, "a threshold for each query");
        let places = scales.len() * queries.count;
        assert!(u32::try_from(places).is_ok(), "places are counted in 32 bits");
        scores.scores.resize(places, 0.0);
        scores.above.clear();
        for sums in [&mut scores.sums, &mut scores.squares] {
            sums.clear();
            sums.resize(queries.count, 0.0);
        }
        with_dot(self.int8_path(), Scan { kernels: self, rows, scales, queries, thresholds, scores });
    }
}

/// Everything a scan needs except the instructions.
struct Scan<'a> {
    kernels: &'a Kernels,
    rows: &'a [u8],
    scales: &'a [f32],
    queries: &'a ScanQueries,
    thresholds: &'a [f32],
    scores: &'a mut RowScores,
}

impl OnDot for Scan<'_> {
    fn run<D: Dot>(self, dot: D) {
        let Scan { kernels, rows, scales, queries, thresholds, scores } = self;
        match &queries.panels {
            None => dot.vectorize(Along { rows, scales, queries, scores: &mut scores.scores }),
            Some(panels) => {
                assert_eq!(panels.path(), kernels.int8_path(), "the queries are packed for these kernels");
                let values = panels.values() * size_of::<D::Value>();
                kernels.with_scratch(values.div_ceil(size_of::<f32>()), |scratch| {
                    let values = view::<D::Value>(scratch);
                    let scores = &mut scores.scores;
                    dot.vectorize(Across { rows, scales, panels, values, scores });
                });
            }
        }
        dot.vectorize(Survey { thresholds, scores });
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::super::path::Int8Path;
    use super::*;
    use crate::isa::Isa;

    /// The AVX-VNNI path, which this processor may lack, differs from this test path only in the encoding of one
    /// instruction.
    #[test]
    fn the_instruction_on_256_bits_gives_what_plain_code_gives() {
        let Some(dot) = super::super::x86::Avx512Vnni256::detect() else { return };
        for count in [1, 3, 7, 37] {
            let (rows, width) = (13, 70);
            let bytes: Vec<u8> = (0..rows * 128).map(|index| (index * 37 % 256) as u8).collect();
            let queries: Vec<i8> = (0..count * width).map(|index| (index * 31 % 255) as i8).collect();
            let (scales, thresholds) = (vec![0.5; rows], vec![0.0; count]);
            let scan = |kernels: Kernels, dot: Option<super::super::x86::Avx512Vnni256>| {
                let queries = &kernels.scan_queries(&queries, width);
                let mut scores = RowScores::default();
                match dot {
                    None => kernels.scan(&bytes, &scales, queries, &thresholds, &mut scores),
                    Some(dot) => {
                        scores.scores = vec![0.0; rows * count];
                        (scores.sums, scores.squares) = (vec![0.0; count], vec![0.0; count]);
                        let (kernels, rows, scales) = (&kernels, &bytes, &scales);
                        let thresholds = &thresholds;
                        Scan { kernels, rows, scales, queries, thresholds, scores: &mut scores }.run(dot);
                    }
                }
                (scores.scores, scores.above, scores.sums, scores.squares)
            };
            let portable = Kernels::new(Isa::Portable, 1).expect("no threads");
            let wide = Kernels::new(Isa::Avx2, 1).expect("AVX2").packing_int8_for(Int8Path::AvxVnni);
            assert_eq!(scan(wide, Some(dot)), scan(portable, None), "{count} queries");
        }
    }
}
