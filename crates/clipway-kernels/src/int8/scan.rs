//! The scan of an index: int8 rows times one or more int8 queries, and what a search needs of the scores.

use super::MOST_INT8_INPUTS;
use super::dot::{Dot, DotKernel, DotTile};
use super::linear::{OnDot, with_dot};
use super::pack::PackedInt8;
use super::quantize::Quantized;
use super::row_dot::RowDot;
use crate::buffer::{AlignedBuffer, LINE, Plain, prefetch, view};
use crate::isa::{Ahead, MAX_TILE, Simd};
use crate::threads::Kernels;

/// Bytes that a row's length is a multiple of.
const ROW_MULTIPLE: usize = 64;

/// Up to this many queries are multiplied along each row; the lanes of more queries are worth filling.
const ALONG_ROWS: usize = 4;

/// Rows multiplied at once along the row.
const ROWS_ALONG: usize = 4;

/// Rows multiplied at once with more queries.
const ROWS_ACROSS: usize = 32;

/// How far ahead along the rows bytes are fetched into the cache: across pages, which the processor does not do by itself.
const BYTES_AHEAD: usize = 8 << 10;

/// Rows whose scores are summed side by side: one query fills vectors too.
const ROWS_ABREAST: usize = 16;

/// Lines of scores that are summed in f32 before they are added in f64.
const SUMMED_LINES: usize = 32;

/// Int8 queries, packed for the kernels that scan with them.
pub struct ScanQueries {
    /// Bytes of a row.
    stride: usize,
    count: usize,
    /// `[queries, stride]`, zeros beyond the width.
    plain: AlignedBuffer<i8>,
    /// What the input offset adds to each sum.
    corrections: Vec<i32>,
    /// More queries than [`ALONG_ROWS`], as the weights of a product.
    packed: Option<PackedInt8>,
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
        let packed = (count > ALONG_ROWS).then(|| {
            let mut builder = self.int8_builder(count, stride);
            plain.chunks_exact(stride).for_each(|query| builder.push(query, 1.0));
            builder.finish()
        });
        ScanQueries { stride, count, plain, corrections, packed }
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
        match &queries.packed {
            None => dot.vectorize(Along { rows, scales, queries, scores: &mut scores.scores }),
            Some(packed) => {
                assert_eq!(packed.path(), kernels.int8_path(), "the queries are packed for these kernels");
                let values = ROWS_ACROSS * queries.stride * size_of::<D::Value>();
                kernels.with_scratch(values.div_ceil(size_of::<f32>()), |scratch| {
                    let values = view::<D::Value>(scratch);
                    let scores = &mut scores.scores;
                    dot.vectorize(Across { rows, scales, stride: queries.stride, packed, values, scores });
                });
            }
        }
        dot.vectorize(Survey { thresholds, scores });
    }
}

/// Few queries: products along each row.
struct Along<'a> {
    rows: &'a [u8],
    scales: &'a [f32],
    queries: &'a ScanQueries,
    scores: &'a mut [f32],
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

/// Many queries: a product with the queries as weights.
struct Across<'a, T> {
    rows: &'a [u8],
    scales: &'a [f32],
    stride: usize,
    packed: &'a PackedInt8,
    /// Room for [`ROWS_ACROSS`] rows.
    values: &'a mut [T],
    scores: &'a mut [f32],
}

/// Sums of one tile, on a cache line.
#[repr(align(64))]
struct Sums([i32; MAX_TILE]);

impl<T: Plain + Quantized> DotKernel<T> for Across<'_, T> {
    #[inline(always)]
    // Indexed loops, for the same reason as in the f32 tile.
    #[allow(clippy::needless_range_loop)]
    fn run<D: Dot<Value = T>>(self, dot: D) {
        let Across { rows, scales, stride, packed, values, scores } = self;
        let count = packed.outputs();
        let mut sums = Sums([0; MAX_TILE]);
        let block = ROWS_ACROSS * stride;
        let (groups, all) = (stride / D::GROUP, rows);
        let blocks = rows.chunks(block).zip(scales.chunks(ROWS_ACROSS));
        for (index, ((rows, scales), scores)) in
            blocks.zip(scores.chunks_mut(ROWS_ACROSS * count)).enumerate()
        {
            let next = all.get((index + 1) * block..).unwrap_or_default();
            let next = &next[..next.len().min(block)];
            let mut fetched = 0;
            for (value, byte) in values.iter_mut().zip(rows) {
                *value = T::of(byte.cast_signed());
            }
            for panel in 0..packed.panels() {
                let panel = packed.panel(panel);
                let width = panel.vectors * D::Float::LANES;
                let mut row = 0;
                while row < scales.len() {
                    let tile = DotTile {
                        ahead: Ahead::of(next, fetched),
                        a: &values[row * stride..],
                        a_stride: stride,
                        rows: (scales.len() - row).min(D::Float::TILE_ROWS),
                        b: panel.data,
                        vectors: panel.vectors,
                        groups,
                    };
                    tile.multiply(dot, &mut sums.0);
                    fetched += groups;
                    for index in 0..tile.rows {
                        let places = &mut scores[(row + index) * count + panel.column..][..panel.columns];
                        let outputs = places.len();
                        let sums = &sums.0[index * width..][..outputs];
                        let corrections = &panel.corrections[..outputs];
                        let scale = scales[row + index];
                        for output in 0..outputs {
                            places[output] = sums[output].wrapping_sub(corrections[output]) as f32 * scale;
                        }
                    }
                    row += tile.rows;
                }
            }
        }
    }
}

/// Sums over the scores, and which exceed their threshold.
struct Survey<'a> {
    thresholds: &'a [f32],
    scores: &'a mut RowScores,
}

impl<T> DotKernel<T> for Survey<'_> {
    #[inline(always)]
    // Indexed loops, for the same reason as in the f32 tile.
    #[allow(clippy::needless_range_loop)]
    fn run<D: Dot<Value = T>>(self, _: D) {
        let Survey { thresholds, scores: RowScores { scores, above, sums, squares } } = self;
        let count = thresholds.len();
        // Rows are summed side by side, the same ones for any number of queries, so that these do not change the sums.
        let lanes = count * ROWS_ABREAST;
        let limits: Vec<f32> = thresholds.iter().copied().cycle().take(lanes).collect();
        let (mut lane_sums, mut lane_squares) = (vec![0.0_f64; lanes], vec![0.0_f64; lanes]);
        let mut partial =
            Partial { sums: vec![0.0; lanes], squares: vec![0.0; lanes], excess: vec![0.0; lanes] };
        for (block, scores) in scores.chunks(SUMMED_LINES * lanes).enumerate() {
            partial.clear();
            let lines = scores.chunks_exact(lanes);
            let last = lines.remainder();
            for line in lines {
                partial.add(line, &limits);
            }
            partial.add(last, &limits);
            let all =
                lane_sums.iter_mut().zip(&mut lane_squares).zip(partial.sums.iter().zip(&partial.squares));
            for ((sum, square), (partial_sum, partial_square)) in all {
                *sum += f64::from(*partial_sum);
                *square += f64::from(*partial_square);
            }
            if partial.excess.iter().any(|excess| *excess > 0.0) {
                for (line, scores) in scores.chunks(lanes).enumerate() {
                    let limits = &limits[..scores.len()];
                    let mut any = false;
                    for lane in 0..scores.len() {
                        any |= scores[lane] > limits[lane];
                    }
                    if any {
                        let first = (block * SUMMED_LINES + line) * lanes;
                        let exceed = (0..scores.len()).filter(|lane| scores[*lane] > limits[*lane]);
                        above.extend(exceed.map(|lane| (first + lane) as u32));
                    }
                }
            }
        }
        for (lane, (sum, square)) in lane_sums.iter().zip(&lane_squares).enumerate() {
            sums[lane % count] += sum;
            squares[lane % count] += square;
        }
    }
}

/// Sums in f32 of some lines of scores, which are faster than in f64; their order does not depend on the instructions.
struct Partial {
    sums: Vec<f32>,
    squares: Vec<f32>,
    /// Most by which a score exceeded its threshold, or 0.
    excess: Vec<f32>,
}

impl Partial {
    fn clear(&mut self) {
        for part in [&mut self.sums, &mut self.squares, &mut self.excess] {
            part.fill(0.0);
        }
    }

    /// Adds a line of scores.
    #[inline(always)]
    // Indexed loops, for the same reason as in the f32 tile.
    #[allow(clippy::needless_range_loop)]
    fn add(&mut self, line: &[f32], limits: &[f32]) {
        let lanes = line.len();
        let (sums, squares) = (&mut self.sums[..lanes], &mut self.squares[..lanes]);
        let (excess, limits) = (&mut self.excess[..lanes], &limits[..lanes]);
        for lane in 0..lanes {
            let score = line[lane];
            sums[lane] += score;
            squares[lane] += score * score;
            let over = score - limits[lane];
            excess[lane] = if over > excess[lane] { over } else { excess[lane] };
        }
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
        for count in [1, 3, 7] {
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
